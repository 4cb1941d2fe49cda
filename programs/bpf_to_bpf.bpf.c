// Drops packets of unusual length: those further from the mean than two standard deviations.
//
// Shows: calls between BPF functions, loops with a bound, 32-bit and 64-bit arithmetic with signed
// division, and atomic operations on global variables. Built with -mcpu=v4 for the newest
// instructions.
//
// A function marked __noinline stays a function of its own: r1 to r5 are its arguments, r0 its
// result, and it has its own frame on the stack. At most eight frames may be open at once.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define DIGEST_BYTES 64
#define MAX_ATTEMPTS 8

// How slowly the moving average follows; the loader may change it, but not to zero.
const volatile __s32 average_weight = 8;

// Nothing is dropped before this many packets were seen.
const volatile __u64 warm_up = 4;

__u64 packets = 0;
__u64 total = 0; // of the lengths
__u64 total_of_squares = 0;
__u64 longest = 0;
__s32 average = 0; // moving average of the lengths, in sixteenths of a byte
__u64 last_digest = 0;
__u64 mixed_digest = 0; // exclusive or of all digests
__u64 lengths_seen = 0; // bit n: a length from 2^n to 2^(n+1) - 1
__u64 dropped = 0;

// The largest number whose square is not above `number`, one bit of it at a time.
static __noinline __u64 square_root(__u64 number)
{
	__u64 root = 0;

	for (int bit = 31; bit >= 0; bit--) {
		__u64 candidate = root | 1ULL << bit;

		if (candidate * candidate <= number)
			root = candidate;
	}
	return root;
}

static __noinline __u64 standard_deviation(__u64 count, __u64 sum, __u64 squares)
{
	__u64 mean = sum / count;
	__u64 mean_of_squares = squares / count;

	// Rounding down can leave the difference below zero.
	if (mean_of_squares < mean * mean)
		return 0;
	return square_root(mean_of_squares - mean * mean);
}

// A checksum over the first bytes of the packet: two sums, the second of which minds the order.
static __noinline __u32 digest(const __u8 *at, const __u8 *end)
{
	__u32 first = 0xffff;
	__u32 second = 0xffff;

	for (int i = 0; i < DIGEST_BYTES / 2; i++, at += 2) {
		if (at + 2 > end)
			break;
		first = (first + bpf_ntohs(*(const __u16 *)at)) % 0xffff;
		second = (second + first) % 0xffff;
	}
	return second << 16 | first;
}

// Other CPUs may raise the maximum between our look and our exchange: then try again.
static __noinline int raise_longest(__u64 length)
{
	__u64 seen = longest;

	for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
		if (length <= seen)
			return 0;

		__u64 found = __sync_val_compare_and_swap(&longest, seen, length);

		if (found == seen)
			return 1;
		seen = found;
	}
	return 0;
}

// The difference has a sign, and so has the division.
static __noinline __s32 follow(__s32 current, __u32 length)
{
	__s32 difference = (__s32)(length << 4) - current;

	return current + difference / average_weight;
}

static __noinline __u32 logarithm(__u32 number)
{
	__u32 result = 0;

	for (int shift = 16; shift; shift >>= 1) {
		if (number >> shift) {
			number >>= shift;
			result += shift;
		}
	}
	return result;
}

static __noinline int is_outlier(__u64 length)
{
	__u64 count = __sync_fetch_and_add(&packets, 1) + 1;
	__u64 sum = __sync_fetch_and_add(&total, length) + length;
	__u64 squares = __sync_fetch_and_add(&total_of_squares, length * length) + length * length;

	if (count <= warm_up)
		return 0;

	__s64 distance = length - sum / count;

	if (distance < 0)
		distance = -distance;
	return distance > 2 * (__s64)standard_deviation(count, sum, squares);
}

SEC("xdp")
int bpf_to_bpf(struct xdp_md *ctx)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *data_end = (const __u8 *)(long)ctx->data_end;
	__u64 length = data_end - data;
	__u64 sum = digest(data, data_end);

	__sync_lock_test_and_set(&last_digest, sum);
	__sync_fetch_and_xor(&mixed_digest, sum);
	__sync_fetch_and_or(&lengths_seen, 1ULL << logarithm(length));
	average = follow(average, length);
	raise_longest(length);

	if (!is_outlier(length))
		return XDP_PASS;
	__sync_fetch_and_add(&dropped, 1);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
