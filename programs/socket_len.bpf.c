// A socket filter: says how many bytes of each packet the socket is to receive.
//
// Shows: the fields of __sk_buff, read without a helper and without touching the packet, and
// global variables. Zero would drop the packet; more than its length keeps all of it.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// How much of a packet is kept, if it is not ARP. The loader may change it.
const volatile __u32 snap_length = 64;

__u64 packets_seen;
__u64 packets_cut;
__u64 bytes_seen;
__u32 longest = 0;

SEC("socket")
int socket_len(struct __sk_buff *skb)
{
	__u32 length = skb->len;

	__sync_fetch_and_add(&packets_seen, 1);
	__sync_fetch_and_add(&bytes_seen, length);

	// Two CPUs may race for this one; it is a hint, not an account.
	if (length > longest)
		longest = length;

	// ARP is short and worth keeping whole. The field is in network byte order.
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return length;

	if (length > snap_length) {
		__sync_fetch_and_add(&packets_cut, 1);
		return snap_length;
	}
	return length;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
