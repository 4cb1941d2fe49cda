/*
 * Runs machine code that skep made for aarch64: a batch of cases from a file, their outcomes to
 * another. Built by tests/aarch64/build.rs; the offsets of the run state's fields (OFF_*) and its
 * size come from there as macros, so that Rust alone states them.
 *
 * Both files are sequences of little-endian 64-bit words. A case, in this order:
 *   fuel, slice, args[2], frame top, lowest frame, number of codes, of pages, of events
 *   each code:  bytes, enter, fault exit, first entry, number of accesses, of functions,
 *               entry for callbacks; the bytes, padded; accesses, two words each as struct access;
 *               functions: reference, offset
 *   each page:  guest address, flags (1: it may be written, 2: all zero); 4096 bytes unless zero
 *   each event: kind, site, number of arguments, arguments[5], outcome, value, number of pieces;
 *               each piece of memory that the call changes: guest address, length; bytes, padded
 * Calls that leave the generated code get the answers of the events, one after the other, and must
 * be the calls that the events describe.
 *
 * An outcome: status, r0, fuel given less fuel left, trap code, instruction, address, length,
 * whether it writes, index of the code, reason, events answered, number of pages that changed;
 * each page: guest address, 4096 bytes.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

typedef uint64_t u64;

enum { PAGE = 4096, MOST_CODES = 8, MOST_PAGES = 1 << 15, CODE_SPACE = 64 << 20, SECONDS = 20 };
enum { EXITED, TRAPPED, DIVERGED, CRASHED, CLOBBERED, HUNG };
enum { HELPER, PACKET, TAIL_CALL };
enum { VALUE, TRAP, OTHER };
enum { WRITABLE = 1, ZERO = 2 };
enum { NONE, BY_EVENT, NOT_A_FUNCTION, NO_PACKET, NO_FUEL, NO_HELPER, TOO_DEEP };
enum { FRAME = 512, MAX_LOOPS = 8 << 20, LOOP_EINVAL = -22, LOOP_E2BIG = -7 };

/* Stands for no register: the displacement is the address. */
#define NO_REGISTER 255

/* Sites of helpers that do not exist have this bit. */
#define ABSENT (1ULL << 63)

struct access {
	uint32_t offset, insn;
	int32_t disp;
	uint8_t reg, len, write, host;
};

struct code {
	u64 bytes, enter, fault_exit, first_entry, accesses, functions, callback;
	const struct access *access;
	const u64 *function;
	unsigned char *at;
};

static char *window;
static unsigned char *code_space;
static size_t code_used;
static struct code codes[MOST_CODES];
static u64 code_count;
static const u64 *next_event;
static u64 events_left, events_answered;
static u64 fuel_limit, fuel_given, slice;
static u64 reason;
static char state[STATE_BYTES] __attribute__((aligned(16)));
static sigjmp_buf crashed;
static volatile sig_atomic_t running;
static u64 crash_detail[3];
/* The trap in a function that was called back, before those of its callers. */
static char first_trap[OFF_TRAP_WRITE + 4 - OFF_TRAP_CODE];
static int has_first_trap;

#define FIELD(type, offset) (*(type *)(state + (offset)))

static void die(const char *what)
{
	fprintf(stderr, "runner: %s\n", what);
	exit(2);
}

static void put(FILE *out, u64 word)
{
	if (fwrite(&word, sizeof word, 1, out) != 1)
		die("the outcome cannot be written");
}

/* The run is over: the case is not what the code does. */
static void stop(int status, u64 detail)
{
	crash_detail[0] = detail;
	siglongjmp(crashed, status);
}

static u64 refuse(u64 why)
{
	reason = why;
	FIELD(u64, OFF_TRAPPED) = 1;
	FIELD(uint32_t, OFF_TRAP_CODE) = 0;
	return 0;
}

static size_t words(u64 bytes)
{
	return (bytes + 7) / 8;
}

/* The next event, if it is a call of a kind from a site with these arguments. */
static const u64 *answer(u64 kind, u64 site, const u64 args[5])
{
	const u64 *event = next_event;
	if (!events_left)
		return NULL;
	if (event[0] != kind || event[1] != site || memcmp(event + 3, args, event[2] * 8))
		stop(DIVERGED, events_answered);
	const u64 *piece = event + 11;
	for (u64 pieces = event[10]; pieces; pieces--) {
		memcpy(window + piece[0], piece + 2, piece[1]);
		piece += 2 + words(piece[1]);
	}
	next_event = piece;
	events_left--;
	events_answered++;
	return event;
}

/* Registers that a call may change hold nothing that code can rely on. */
static void spoil(void)
{
	asm volatile("mov x1, #-1\n mov x2, #-2\n mov x3, #-3\n mov x4, #-4\n mov x5, #-5\n"
		     "mov x6, #-6\n mov x7, #-7\n mov x8, #-8\n mov x9, #-9\n mov x10, #-10\n"
		     "mov x11, #-11\n mov x12, #-12\n mov x13, #-13\n mov x14, #-14\n"
		     "mov x15, #-15\n mov x16, #-16\n mov x17, #-17\n" ::
			     : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
			       "x12", "x13", "x14", "x15", "x16", "x17");
}

static void is_state(void *given)
{
	if (given != state)
		stop(DIVERGED, 1000);
}

static u64 call(u64 kind, u64 site, const u64 args[5], u64 otherwise)
{
	const u64 *event = answer(kind, site, args);
	if (!event)
		return refuse(otherwise);
	if (event[8] == TRAP)
		return refuse(BY_EVENT);
	return event[9];
}

static u64 helper(u64 a, u64 b, u64 c, u64 d, u64 e, void *given)
{
	u64 args[5] = { a, b, c, d, e }, site = FIELD(u64, OFF_SITE);
	is_state(given);
	if (site & ABSENT)
		return refuse(NO_HELPER);
	if (!events_left)
		stop(DIVERGED, 1001);
	u64 result = call(HELPER, site, args, NO_HELPER);
	spoil();
	return result;
}

static u64 numbered(u64 a, u64 b, u64 c, u64 d, u64 e, void *given)
{
	u64 args[5] = { a, b, c, d, e };
	is_state(given);
	u64 result = call(HELPER, FIELD(u64, OFF_R0), args, NOT_A_FUNCTION);
	spoil();
	return result;
}

static u64 tail_call(u64 a, u64 b, u64 c, u64 d, u64 e, void *given)
{
	u64 args[5] = { a, b, c, d, e };
	is_state(given);
	const u64 *event = answer(TAIL_CALL, FIELD(u64, OFF_SITE), args);
	if (!event)
		stop(DIVERGED, 1002);
	u64 result = 0;
	if (event[8] == TRAP) {
		refuse(BY_EVENT);
	} else if (event[8] == VALUE) {
		FIELD(u64, OFF_R0) = event[9];
	} else {
		FIELD(u64, OFF_ARGS) = a;
		result = (u64)(codes[event[9]].at + codes[event[9]].first_entry);
	}
	spoil();
	return result;
}

static u64 resolve(u64 value, u64 site, u64 c, u64 d, u64 e, void *given)
{
	is_state(given);
	(void)c, (void)d, (void)e;
	if (site != FIELD(u64, OFF_SITE))
		stop(DIVERGED, 1003);
	u64 result = 0;
	FIELD(u64, OFF_R0) = value;
	const struct code *code = &codes[site % MOST_CODES];
	for (u64 i = 0; i < code->functions; i++)
		if (code->function[2 * i] == value)
			result = (u64)(code->at + code->function[2 * i + 1]);
	spoil();
	return result;
}

static u64 load_packet(u64 offset, u64 bytes, u64 c, u64 d, u64 e, void *given)
{
	u64 args[5] = { (uint32_t)offset, bytes, c, d, e };
	is_state(given);
	const u64 *event = answer(PACKET, 0, args);
	u64 result = 0;
	if (!event)
		refuse(NO_PACKET);
	else if (event[8] == OTHER)
		result = 1;
	else
		FIELD(u64, OFF_R0) = event[9];
	spoil();
	return result;
}

static u64 refuel(u64 a, u64 b, u64 c, u64 d, u64 e, void *given)
{
	(void)a, (void)b, (void)c, (void)d, (void)e;
	is_state(given);
	if (FIELD(int64_t, OFF_FUEL) >= 0)
		stop(DIVERGED, 1004);
	while (FIELD(int64_t, OFF_FUEL) < 0) {
		u64 more = fuel_limit - fuel_given < slice ? fuel_limit - fuel_given : slice;
		if (!more)
			return refuse(NO_FUEL);
		fuel_given += more;
		FIELD(int64_t, OFF_FUEL) += more;
	}
	spoil();
	return 0;
}

/* bpf_loop: calls a function of the first code until it returns something else than 0. */
static u64 call_back(u64 turns, u64 function, u64 context, u64 flags, u64 e, void *given)
{
	const struct code *code = &codes[0];
	u64 frame = FIELD(u64, OFF_CALLBACK_FRAME_TOP), saved[13], done = 0, result = 0;
	(void)e;
	is_state(given);
	turns = (uint32_t)turns;
	if (flags)
		return (u64)(int64_t)LOOP_EINVAL;
	if (turns > MAX_LOOPS)
		return (u64)(int64_t)LOOP_E2BIG;
	while (done < turns && !result) {
		u64 entry = 0;
		for (u64 i = 0; i < code->functions; i++)
			if (code->function[2 * i] == function)
				entry = (u64)(code->at + code->function[2 * i + 1]);
		if (!entry)
			return refuse(NOT_A_FUNCTION);
		if (FIELD(int64_t, OFF_FUEL) < 0)
			refuel(0, 0, 0, 0, 0, state);
		if (FIELD(u64, OFF_TRAPPED))
			return 0;
		if (frame == FIELD(u64, OFF_LOWEST_FRAME))
			return refuse(TOO_DEEP);
		FIELD(u64, OFF_CALLBACK_ENTRY) = entry;
		FIELD(u64, OFF_CALLBACK_FRAME_TOP) = frame - FRAME;
		memset(state + OFF_CALLBACK_ARGS, 0, 40);
		FIELD(u64, OFF_CALLBACK_ARGS) = done;
		FIELD(u64, OFF_CALLBACK_ARGS + 8) = context;
		saved[12] = FIELD(u64, OFF_EXIT_SP);
		memcpy(saved, state + OFF_EXIT_SAVED, 96);
		u64 how = ((u64(*)(void *))(code->at + code->callback))(state);
		FIELD(u64, OFF_EXIT_SP) = saved[12];
		memcpy(state + OFF_EXIT_SAVED, saved, 96);
		if (how == TRAPPED) {
			if (!has_first_trap)
				memcpy(first_trap, state + OFF_TRAP_CODE, sizeof first_trap);
			has_first_trap = 1;
			FIELD(u64, OFF_TRAPPED) = 1;
			return 0;
		}
		result = FIELD(u64, OFF_R0);
		done++;
		spoil();
	}
	return done;
}

/* Continues generated code at its exit after a fault of one of its accesses. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *now = context;
	u64 pc = now->uc_mcontext.pc, addr = (u64)info->si_addr;
	if (!running)
		_exit(3);
	for (u64 c = 0; c < code_count; c++) {
		u64 offset = pc - (u64)codes[c].at;
		for (u64 i = 0; offset < codes[c].bytes && i < codes[c].accesses; i++) {
			const struct access *access = &codes[c].access[i];
			if (access->offset != offset || now->uc_mcontext.regs[27] != (u64)state)
				continue;
			u64 reg = access->reg == NO_REGISTER ? 0 : now->uc_mcontext.regs[access->reg];
			if (access->host)
				reg -= (u64)window;
			FIELD(uint32_t, OFF_TRAP_CODE) = 1;
			FIELD(uint32_t, OFF_TRAP_INSN) = access->insn;
			FIELD(u64, OFF_TRAP_PLACE) = pc;
			FIELD(uint32_t, OFF_TRAP_ADDR) = (uint32_t)reg + (uint32_t)access->disp;
			FIELD(uint32_t, OFF_TRAP_LEN) = access->len;
			FIELD(uint32_t, OFF_TRAP_WRITE) = access->write;
			now->uc_mcontext.pc = (u64)codes[c].at + codes[c].fault_exit;
			return;
		}
	}
	crash_detail[0] = number;
	crash_detail[1] = addr;
	crash_detail[2] = pc;
	siglongjmp(crashed, CRASHED);
}

static void on_alarm(int number)
{
	(void)number;
	if (running)
		siglongjmp(crashed, HUNG);
}

/*
 * Calls the code with known values in the registers that it must preserve. Gives its result, or
 * CLOBBERED if one of them changed.
 */
u64 enter_checked(void *state, u64 code);
asm(".text\n"
    ".globl enter_checked\n"
    "enter_checked:\n"
    "	stp x29, x30, [sp, #-176]!\n"
    "	stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n"
    "	stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n"
    "	stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n"
    "	stp d14, d15, [sp, #144]\n"
    "	mov x9, sp\n str x9, [sp, #160]\n"
    "	mov x19, #0x1919\n mov x20, #0x2020\n mov x21, #0x2121\n mov x22, #0x2222\n"
    "	mov x23, #0x2323\n mov x24, #0x2424\n mov x25, #0x2525\n mov x26, #0x2626\n"
    "	mov x27, #0x2727\n mov x28, #0x2828\n mov x29, #0x2929\n"
    "	fmov d8, x19\n fmov d15, x20\n"
    /* Nothing may depend on what the other registers hold. */
    "	mov x16, x1\n mov x1, #-1\n mov x2, #-2\n mov x3, #-3\n mov x4, #-4\n mov x5, #-5\n"
    "	mov x6, #-6\n mov x7, #-7\n mov x8, #-8\n mov x9, #-9\n mov x10, #-10\n mov x11, #-11\n"
    "	mov x12, #-12\n mov x13, #-13\n mov x14, #-14\n mov x15, #-15\n"
    "	blr x16\n"
    "	mov x9, sp\n ldr x10, [sp, #160]\n cmp x9, x10\n b.ne 1f\n"
    "	mov x9, #0x1919\n cmp x19, x9\n b.ne 1f\n mov x10, #0x2020\n cmp x20, x10\n b.ne 1f\n"
    "	fmov x11, d8\n cmp x11, x9\n b.ne 1f\n fmov x11, d15\n cmp x11, x10\n b.ne 1f\n"
    "	mov x9, #0x2121\n cmp x21, x9\n b.ne 1f\n mov x9, #0x2222\n cmp x22, x9\n b.ne 1f\n"
    "	mov x9, #0x2323\n cmp x23, x9\n b.ne 1f\n mov x9, #0x2424\n cmp x24, x9\n b.ne 1f\n"
    "	mov x9, #0x2525\n cmp x25, x9\n b.ne 1f\n mov x9, #0x2626\n cmp x26, x9\n b.ne 1f\n"
    "	mov x9, #0x2727\n cmp x27, x9\n b.ne 1f\n mov x9, #0x2828\n cmp x28, x9\n b.ne 1f\n"
    "	mov x9, #0x2929\n cmp x29, x9\n b.ne 1f\n"
    "	b 2f\n"
    "1:	mov x0, #4\n"
    "2:	ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]\n"
    "	ldp x25, x26, [sp, #64]\n ldp x27, x28, [sp, #80]\n"
    "	ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n"
    "	ldp d14, d15, [sp, #144]\n"
    "	ldp x29, x30, [sp], #176\n"
    "	ret\n");

static const u64 *load_code(const u64 *in, struct code *code)
{
	code->bytes = in[0];
	code->enter = in[1];
	code->fault_exit = in[2];
	code->first_entry = in[3];
	code->accesses = in[4];
	code->functions = in[5];
	code->callback = in[6];
	in += 7;
	if (code->bytes > CODE_SPACE)
		die("a code is too large");
	/* Fresh addresses: translated code is never written again until the space is full. */
	if (code_used + code->bytes + 64 > CODE_SPACE)
		code_used = 0;
	code->at = code_space + code_used;
	code_used += (code->bytes + 127) & ~63ULL;
	memcpy(code->at, in, code->bytes);
	__builtin___clear_cache((char *)code->at, (char *)code->at + code->bytes);
	in += words(code->bytes);
	code->access = (const struct access *)in;
	in += 2 * code->accesses;
	code->function = in;
	return in + 2 * code->functions;
}

static const u64 *after_page(const u64 *page)
{
	return page + 2 + (page[1] & ZERO ? 0 : PAGE / 8);
}

/* Maps neighbours of one kind at once: tables of maps are long and empty. */
static const u64 *map_pages(const u64 *in, u64 pages)
{
	while (pages) {
		u64 start = in[0], flags = in[1], count = 0;
		const u64 *first = in;
		while (pages && in[0] == start + count * PAGE && in[1] == flags) {
			in = after_page(in);
			count++;
			pages--;
		}
		char *at = window + start;
		int zero = flags & ZERO, writable = flags & WRITABLE;
		if (!zero || writable) {
			if (mprotect(at, count * PAGE, PROT_READ | PROT_WRITE))
				die("pages cannot be mapped");
			for (const u64 *page = first; !zero && page != in; page = after_page(page))
				memcpy(window + page[0], page + 2, PAGE);
		}
		if (!writable && mprotect(at, count * PAGE, PROT_READ))
			die("pages cannot be protected");
	}
	return in;
}

/* Takes all pages away; they are zero when they are mapped again. */
static void unmap_pages(const u64 *page, u64 pages)
{
	while (pages) {
		u64 start = page[0], count = 0;
		for (; pages && page[0] == start + count * PAGE; page = after_page(page)) {
			count++;
			pages--;
		}
		if (madvise(window + start, count * PAGE, MADV_DONTNEED) ||
		    mprotect(window + start, count * PAGE, PROT_NONE))
			die("pages cannot be unmapped");
	}
}

/* Whether a writable page is other than it was at the start. */
static int has_changed(const u64 *page)
{
	static const char zeros[PAGE];
	const void *was = page[1] & ZERO ? (const void *)zeros : page + 2;
	return page[1] & WRITABLE && memcmp(window + page[0], was, PAGE);
}

static const u64 *run_case(const u64 *in, FILE *out)
{
	u64 header[9];
	memcpy(header, in, sizeof header);
	in += 9;
	code_count = header[6];
	u64 pages = header[7], events = header[8];
	if (code_count == 0 || code_count > MOST_CODES || pages > MOST_PAGES)
		die("a case has too many parts");
	for (u64 c = 0; c < code_count; c++)
		in = load_code(in, &codes[c]);
	const u64 *page_list = in;
	in = map_pages(in, pages);
	next_event = in;
	events_left = events;
	events_answered = 0;
	for (u64 e = 0; e < events; e++) {
		u64 pieces = in[10];
		in += 11;
		for (; pieces; pieces--)
			in += 2 + words(in[1]);
	}
	fuel_limit = header[0];
	slice = header[1];
	fuel_given = fuel_limit < slice ? fuel_limit : slice;
	reason = NONE;
	memset(state, 0xa5, sizeof state);
	FIELD(u64, OFF_WINDOW) = (u64)window;
	FIELD(int64_t, OFF_FUEL) = fuel_given;
	FIELD(u64, OFF_ARGS) = header[2];
	FIELD(u64, OFF_ARGS + 8) = header[3];
	FIELD(u64, OFF_FRAME_TOP) = header[4];
	FIELD(u64, OFF_LOWEST_FRAME) = header[5];
	FIELD(u64, OFF_TRAPPED) = 0;
	FIELD(u64, OFF_HELPER) = (u64)helper;
	FIELD(u64, OFF_TAIL_CALL) = (u64)tail_call;
	FIELD(u64, OFF_RESOLVE) = (u64)resolve;
	FIELD(u64, OFF_NUMBERED) = (u64)numbered;
	FIELD(u64, OFF_LOAD_PACKET) = (u64)load_packet;
	FIELD(u64, OFF_REFUEL) = (u64)refuel;
	FIELD(u64, OFF_CALL_BACK) = (u64)call_back;
	FIELD(u64, OFF_PROCESSOR) = 0;
	has_first_trap = 0;
	struct itimerval limit = { .it_value.tv_sec = SECONDS }, none = { 0 };
	setitimer(ITIMER_REAL, &limit, NULL);
	u64 status = sigsetjmp(crashed, 1);
	if (!status) {
		running = 1;
		status = enter_checked(state, (u64)(codes[0].at + codes[0].enter));
	}
	running = 0;
	setitimer(ITIMER_REAL, &none, NULL);
	if (has_first_trap)
		memcpy(state + OFF_TRAP_CODE, first_trap, sizeof first_trap);
	u64 place = FIELD(u64, OFF_TRAP_PLACE), code = 0;
	for (u64 c = 0; c < code_count; c++)
		if (place - (u64)codes[c].at < codes[c].bytes)
			code = c;
	put(out, status);
	put(out, status > TRAPPED ? crash_detail[0] : FIELD(u64, OFF_R0));
	put(out, fuel_given - FIELD(u64, OFF_FUEL));
	put(out, FIELD(uint32_t, OFF_TRAP_CODE));
	put(out, FIELD(uint32_t, OFF_TRAP_INSN));
	put(out, status > TRAPPED ? crash_detail[1] : FIELD(uint32_t, OFF_TRAP_ADDR));
	put(out, status > TRAPPED ? crash_detail[2] - (u64)codes[0].at : FIELD(uint32_t, OFF_TRAP_LEN));
	put(out, FIELD(uint32_t, OFF_TRAP_WRITE));
	put(out, code);
	put(out, reason);
	put(out, events_answered);
	u64 changed = 0;
	const u64 *page = page_list;
	for (u64 p = 0; p < pages; p++, page = after_page(page))
		changed += has_changed(page);
	put(out, changed);
	page = page_list;
	for (u64 p = 0; p < pages; p++, page = after_page(page)) {
		if (!has_changed(page))
			continue;
		put(out, page[0]);
		if (fwrite(window + page[0], PAGE, 1, out) != 1)
			die("the outcome cannot be written");
	}
	unmap_pages(page_list, pages);
	fflush(out);
	return in;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		die("usage: runner CASES OUTCOMES");
	FILE *file = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
	if (!file || !out || fseek(file, 0, SEEK_END))
		die("the files cannot be opened");
	long bytes = ftell(file);
	u64 *cases = malloc(bytes);
	rewind(file);
	if (!cases || fread(cases, 1, bytes, file) != (size_t)bytes)
		die("the cases cannot be read");
	char *reserved = mmap(NULL, 8ULL << 30, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	code_space = mmap(NULL, CODE_SPACE, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (reserved == MAP_FAILED || (void *)code_space == MAP_FAILED)
		die("no memory");
	window = reserved + (2ULL << 30);
	static char signal_stack[1 << 16];
	stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof signal_stack };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction alarm = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };
	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGTRAP, &action, NULL);
	sigaction(SIGALRM, &alarm, NULL);
	const u64 *in = cases;
	while (in < cases + bytes / 8)
		in = run_case(in, out);
	return fclose(out) ? 2 : 0;
}
