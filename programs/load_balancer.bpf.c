// Spreads the TCP and UDP traffic of one IPv4 address over several backends.
//
// Shows: constants that the loader may set before the program is verified, a hash of the five-tuple,
// checksums mended with bpf_csum_diff, and a tail call into a second program of the same object.
//
// The packet leaves through the interface on which it came, addressed to the backend that the hash
// of its addresses, ports and protocol picks; packets of one connection thus meet one backend.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_BACKENDS 16
#define IPV4_MORE_FRAGMENTS 0x2000 // in iphdr.frag_off
#define IPV4_FRAGMENT_OFFSET 0x1fff

// These lie in .rodata. The loader may change them; the verifier then knows their values.
const volatile __be32 service_address = bpf_htonl(0xc000020a); // 192.0.2.10
const volatile __u32 backend_count = 4; // how many entries of `backends` are in use
const volatile __u32 hash_seed = 0x5ca1ab1e;

struct backend {
	__be32 address;
	__u8 mac[ETH_ALEN];
	__u8 reserved[2];
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

// What each backend was sent; the key is the same as that of `backends`.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct traffic);
} sent SEC(".maps");

// A tail call hands over the context and nothing else: registers and stack are gone. The first
// program leaves its choice here for the second, which runs on the same CPU right after it.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} chosen SEC(".maps");

enum stage {
	STAGE_SEND,
	STAGES, // how many stages there are
};

int send_to_backend(struct xdp_md *ctx);

// The loader fills this map with the programs that `values` names.
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, STAGES);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} stages SEC(".maps") = {
	.values = { [STAGE_SEND] = send_to_backend },
};

static __always_inline __u32 rotate(__u32 word, __u32 bits)
{
	return word << bits | word >> (32 - bits);
}

// Stirs one word into a hash: multiplications carry low bits up, rotations bring high bits down.
static __always_inline __u32 stir(__u32 hash, __u32 word)
{
	hash ^= rotate(word * 0x9e3779b1, 15) * 0x85ebca77;
	return rotate(hash, 13) * 5 + 0x27d4eb2f;
}

static __always_inline __u32 hash_flow(const struct iphdr *ip, __u32 ports)
{
	__u32 hash = hash_seed;

	hash = stir(hash, ip->saddr);
	hash = stir(hash, ip->daddr);
	hash = stir(hash, ports);
	hash = stir(hash, ip->protocol);

	// The remainder below looks at all bits, but small changes must reach the low ones too.
	hash ^= hash >> 16;
	hash *= 0xc2b2ae3d;
	hash ^= hash >> 13;
	return hash;
}

// Mends an Internet checksum after an address was exchanged (RFC 1624).
static __always_inline __sum16 mend(__sum16 checksum, __be32 *before, __be32 *after)
{
	__u32 sum = bpf_csum_diff(before, sizeof(*before), after, sizeof(*after), (__u16)~checksum);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

SEC("xdp")
int load_balancer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = data + sizeof(*ethernet);

	if ((void *)(ip + 1) > data_end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->version != 4 || ip->ihl * 4 < sizeof(*ip) || ip->daddr != service_address)
		return XDP_PASS;

	// Only the first fragment of a datagram has ports. All must go the same way, so the hash of
	// a fragment does without.
	__u16 fragment = bpf_ntohs(ip->frag_off);
	void *transport = (void *)ip + ip->ihl * 4;
	__sum16 *checksum = 0; // of the transport header, which covers the addresses too
	__u32 ports = 0;

	if (!(fragment & IPV4_FRAGMENT_OFFSET)) {
		if (ip->protocol == IPPROTO_TCP) {
			struct tcphdr *tcp = transport;

			if ((void *)(tcp + 1) > data_end)
				return XDP_PASS;
			checksum = &tcp->check;
		} else if (ip->protocol == IPPROTO_UDP) {
			struct udphdr *udp = transport;

			if ((void *)(udp + 1) > data_end)
				return XDP_PASS;
			// A UDP checksum of zero says that there is none.
			if (udp->check)
				checksum = &udp->check;
		} else {
			return XDP_PASS;
		}
		if (!(fragment & IPV4_MORE_FRAGMENTS))
			ports = *(__u32 *)transport;
	} else if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP) {
		return XDP_PASS;
	}

	__u32 count = backend_count;

	if (!count)
		return XDP_PASS;

	__u32 index = hash_flow(ip, ports) % count;
	struct backend *backend = bpf_map_lookup_elem(&backends, &index);

	// Past the end of the map, or not filled in.
	if (!backend || !backend->address)
		return XDP_PASS;

	__u32 zero = 0;
	__u32 *choice = bpf_map_lookup_elem(&chosen, &zero);

	if (!choice)
		return XDP_ABORTED;
	*choice = index;

	__be32 before = ip->daddr;
	__be32 after = backend->address;

	ip->daddr = after;
	ip->check = mend(ip->check, &before, &after);
	if (checksum) {
		__sum16 mended = mend(*checksum, &before, &after);

		// UDP sends a checksum that comes out as zero as its other zero, 0xffff.
		if (!mended && ip->protocol == IPPROTO_UDP)
			mended = 0xffff;
		*checksum = mended;
	}

	// The frame was sent to us, so we are its sender now.
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, backend->mac, ETH_ALEN);

	bpf_tail_call(ctx, &stages, STAGE_SEND);

	// Only a tail call that failed returns: the map has no program at this index.
	return XDP_ABORTED;
}

SEC("xdp")
int send_to_backend(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u32 *choice = bpf_map_lookup_elem(&chosen, &zero);

	if (!choice)
		return XDP_ABORTED;

	__u32 index = *choice;
	struct traffic *traffic = bpf_map_lookup_elem(&sent, &index);

	if (!traffic)
		return XDP_ABORTED;
	traffic->packets++;
	traffic->bytes += ctx->data_end - ctx->data;
	return XDP_TX;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
