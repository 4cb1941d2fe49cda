// What libbpf makes of an object: its maps, and its programs linked, one a line. An oracle for
// the tests; it loads the programs, and prints them even if the kernel refuses one.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>

static int print(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct bpf_program *program;
	struct bpf_map *map;

	libbpf_set_print(print);
	if (argc != 2 || !(object = bpf_object__open_file(argv[1], NULL)))
		return 1;
	bpf_object__for_each_program(program, object) {
		bpf_program__set_autoload(program, true);
		if (bpf_program__type(program) == BPF_PROG_TYPE_UNSPEC)
			bpf_program__set_type(program, BPF_PROG_TYPE_XDP);
	}
	// Nothing is pinned.
	bpf_object__for_each_map(map, object)
		bpf_map__set_pin_path(map, NULL);
	if (bpf_object__load(object))
		fprintf(stderr, "not loaded\n");
	bpf_object__for_each_map(map, object)
		printf("map %s type %u key %u value %u entries %u flags %u extra %llu fd %d\n",
		       bpf_map__name(map), bpf_map__type(map), bpf_map__key_size(map),
		       bpf_map__value_size(map), bpf_map__max_entries(map), bpf_map__map_flags(map),
		       (unsigned long long)bpf_map__map_extra(map), bpf_map__fd(map));
	bpf_object__for_each_program(program, object) {
		const unsigned char *code = (const unsigned char *)bpf_program__insns(program);
		size_t len = bpf_program__insn_cnt(program) * sizeof(struct bpf_insn);

		printf("program %s ", bpf_program__name(program));
		for (size_t i = 0; i < len; i++)
			printf("%02x", code[i]);
		printf("\n");
	}
	return 0;
}
