// Clears the type of service of the IPv4 packets that leave a control group.
// Wrong: programs of this type may read the packet, but not change it.
#include <linux/bpf.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

__u32 last_tos = 0;

SEC("cgroup_skb/egress")
int packet_read_only(struct __sk_buff *skb)
{
	struct iphdr *ip = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;

	if ((void *)(ip + 1) > data_end)
		return 1;
	if (ip->version == 4)
		ip->tos = 0; // here
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
