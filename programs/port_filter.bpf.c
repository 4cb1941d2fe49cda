// Drops TCP and UDP packets by destination port.
//
// Shows: a hash map as a rule table, and a parser that walks VLAN tags, IPv4 options and IPv6
// extension headers with a cursor, proving every step to the verifier.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_VLAN_TAGS 2
#define MAX_IPV6_EXTENSIONS 4

#define IPV4_FRAGMENT_OFFSET 0x1fff // the low 13 bits of iphdr.frag_off
#define IPV6_FRAGMENT_OFFSET 0xfff8 // the high 13 bits of fragment_header.offset

// A rule: which packets to drop. Every byte of a key counts, so `zero` must be zero.
struct rule {
	__u16 port; // in host byte order
	__u8 protocol; // IPPROTO_TCP or IPPROTO_UDP
	__u8 zero;
};

// The value counts the packets that the rule dropped.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct rule);
	__type(value, __u64);
} blocked_ports SEC(".maps");

// What became of a packet: the keys of `verdicts`.
enum verdict {
	PASSED, // no rule names its port
	BLOCKED, // a rule does
	NO_PORT, // neither TCP nor UDP, or a fragment other than the first
	NOT_IP,
	MALFORMED, // ends within a header, or has an impossible one
	VERDICTS, // how many verdicts there are
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

// Headers that <linux/...> does not describe, or not in this form.
struct vlan_tag {
	__be16 control;
	__be16 ether_type;
};

struct extension_header {
	__u8 next_header;
	__u8 length; // in units of eight bytes, not counting the first eight
	__u8 options[6];
};

struct fragment_header {
	__u8 next_header;
	__u8 reserved;
	__be16 offset;
	__be32 identification;
};

// TCP and UDP both begin with these.
struct ports {
	__be16 source;
	__be16 destination;
};

// Where parsing stands. Functions that move it are inlined, so the verifier sees its two pointers
// as what they are: a place in the packet, and its end.
struct cursor {
	void *at;
	void *end;
};

// Returns the next `size` bytes and moves behind them, or null if the packet ends before that.
static __always_inline void *take(struct cursor *cursor, __u64 size)
{
	void *taken = cursor->at;

	if (taken + size > cursor->end)
		return 0;
	cursor->at = taken + size;
	return taken;
}

// Each of the following either finds what it looks for and says PASSED, or says why it cannot.

static __always_inline enum verdict find_ether_type(struct cursor *cursor, __u16 *ether_type)
{
	struct ethhdr *ethernet = take(cursor, sizeof(*ethernet));

	if (!ethernet)
		return MALFORMED;
	*ether_type = bpf_ntohs(ethernet->h_proto);

	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (*ether_type != ETH_P_8021Q && *ether_type != ETH_P_8021AD)
			break;

		struct vlan_tag *tag = take(cursor, sizeof(*tag));

		if (!tag)
			return MALFORMED;
		*ether_type = bpf_ntohs(tag->ether_type);
	}
	return PASSED;
}

static __always_inline enum verdict skip_ipv4(struct cursor *cursor, __u8 *protocol)
{
	struct iphdr *ip = take(cursor, sizeof(*ip));

	if (!ip)
		return MALFORMED;
	// The header's length counts words of four bytes and includes the options.
	if (ip->version != 4 || ip->ihl * 4 < sizeof(*ip))
		return MALFORMED;
	if (!take(cursor, ip->ihl * 4 - sizeof(*ip)))
		return MALFORMED;
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET))
		return NO_PORT;
	*protocol = ip->protocol;
	return PASSED;
}

static __always_inline enum verdict skip_ipv6(struct cursor *cursor, __u8 *protocol)
{
	struct ipv6hdr *ip = take(cursor, sizeof(*ip));

	if (!ip || ip->version != 6)
		return MALFORMED;

	__u8 next_header = ip->nexthdr;

	for (int i = 0; i < MAX_IPV6_EXTENSIONS; i++) {
		switch (next_header) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS: {
			struct extension_header *extension = take(cursor, sizeof(*extension));

			if (!extension || !take(cursor, extension->length * 8))
				return MALFORMED;
			next_header = extension->next_header;
			break;
		}
		case IPPROTO_FRAGMENT: {
			struct fragment_header *fragment = take(cursor, sizeof(*fragment));

			if (!fragment)
				return MALFORMED;
			if (fragment->offset & bpf_htons(IPV6_FRAGMENT_OFFSET))
				return NO_PORT;
			next_header = fragment->next_header;
			break;
		}
		default:
			*protocol = next_header;
			return PASSED;
		}
	}
	// More extension headers than anyone sends: no port was found.
	return NO_PORT;
}

static __always_inline enum verdict judge(struct cursor *cursor)
{
	__u16 ether_type;
	enum verdict verdict = find_ether_type(cursor, &ether_type);

	if (verdict != PASSED)
		return verdict;

	struct rule rule = {};

	if (ether_type == ETH_P_IP)
		verdict = skip_ipv4(cursor, &rule.protocol);
	else if (ether_type == ETH_P_IPV6)
		verdict = skip_ipv6(cursor, &rule.protocol);
	else
		verdict = NOT_IP;
	if (verdict != PASSED)
		return verdict;

	if (rule.protocol != IPPROTO_TCP && rule.protocol != IPPROTO_UDP)
		return NO_PORT;

	struct ports *ports = take(cursor, sizeof(*ports));

	if (!ports)
		return MALFORMED;
	rule.port = bpf_ntohs(ports->destination);

	__u64 *dropped = bpf_map_lookup_elem(&blocked_ports, &rule);

	if (!dropped)
		return PASSED;
	// All CPUs share the value of a rule, so the addition must be atomic.
	__sync_fetch_and_add(dropped, 1);
	return BLOCKED;
}

SEC("xdp")
int port_filter(struct xdp_md *ctx)
{
	struct cursor cursor = {
		.at = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
	};
	__u32 verdict = judge(&cursor);
	__u64 *seen = bpf_map_lookup_elem(&verdicts, &verdict);

	if (seen)
		(*seen)++;
	return verdict == BLOCKED || verdict == MALFORMED ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
