# An object as the first compilers wrote them: no types, no sizes, no BTF.
	.section	maps,"aw",@progbits
	.globl	narrow
narrow:
	.long	1, 4, 8, 16, 1
	.globl	wide
wide:
	.long	2, 4, 4, 3, 0
	.section	"maps/single","aw",@progbits
	.long	2, 4, 4, 1, 0

	.section	socket1,"ax",@progbits
	.globl	filter
filter:
	r1 = narrow ll
	r2 = wide ll
	call inside
	r0 = 0
	exit
inside:
	r0 = 1
	exit
	.globl	second
second:
	r0 = 2
	exit

	.section	weird_hook,"ax",@progbits
	r0 = 3
	exit

	.section	license,"aw",@progbits
	.asciz	"GPL"
