//! What each rule is, why it exists, and what breaks and keeps it: what `skep explain E0009` shows.

use crate::rejection::Rule;

/// A rule in words. Texts are Markdown without headings; examples are C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule.
    pub rule: Rule,
    /// The rule in a few words.
    pub title: &'static str,
    /// What the rule is.
    pub what: &'static str,
    /// Why it exists.
    pub why: &'static str,
    /// What breaks it.
    pub failing: &'static str,
    /// The same as it should be.
    pub fixed: &'static str,
}

/// Declares the texts: a rule has exactly one row, or this does not compile.
macro_rules! explained {
    ($( $rule:ident { $title:literal $what:literal $why:literal $failing:literal $fixed:literal } )+) => {
        /// A rule in words.
        #[must_use]
        pub const fn explain(rule: Rule) -> Explained {
            match rule {
                $( Rule::$rule => Explained {
                    rule,
                    title: $title,
                    what: $what,
                    why: $why,
                    failing: $failing,
                    fixed: $fixed,
                }, )+
            }
        }
    };
}

explained! {
    Structure {
        "the code has the form of a program"
        "Every instruction has a known opcode and zeros in the fields that it does not use; every jump leads to an instruction of the same function; every function ends in `exit` or a jump."
        "What is not an instruction can be neither checked nor compiled. A field that must be zero today may mean something tomorrow."
        "asm volatile(\"goto +100\");   /* leads behind the program's end */"
        "asm volatile(\"goto +1\");"
    }
    Unreachable {
        "every instruction can be reached"
        "Some path leads to every instruction, going by jumps alone and not by what their conditions can be."
        "Code that no path leads to is not verified. Compilers do not leave any, so it is a sign of a program that was damaged or made by hand."
        "asm volatile(\"goto +1\\n\"\n             \"r1 = 5\\n\");             /* no path leads here */"
        "asm volatile(\"r1 = 5\\n\");"
    }
    Uninitialised {
        "a register is written before it is read"
        "At the beginning only R1 (the context) and R10 (the end of the stack frame) hold something. A call of a helper leaves the result in R0 and nothing in R1 to R5. A program returns what is in R0."
        "A register that was not written holds what the kernel left in it, an address for instance."
        "int prog(struct xdp_md *ctx)\n{\n\tint action;\n\n\tif (ctx->rx_queue_index == 0)\n\t\taction = XDP_DROP;\n\treturn action;          /* nothing on the other path */\n}"
        "int prog(struct xdp_md *ctx)\n{\n\tint action = XDP_PASS;\n\n\tif (ctx->rx_queue_index == 0)\n\t\taction = XDP_DROP;\n\treturn action;\n}"
    }
    FramePointer {
        "R10 is not written"
        "R10 points to the end of the function's 512 bytes of stack. Instructions may copy it, but not write it."
        "All accesses to the stack are checked against it."
        "asm volatile(\"r10 += -8\");"
        "asm volatile(\"r2 = r10\\n\"\n             \"r2 += -8\\n\" ::: \"r2\");"
    }
    NotAPointer {
        "only pointers are used to access memory"
        "The address of a load or store is a pointer that the verifier followed from its origin: the context, the packet, the stack, a map value, what a helper returned. A number is none, and neither is a pointer to what was given back or may have moved."
        "Whoever could access memory at numbers could access any memory."
        "bpf_xdp_adjust_head(ctx, -8);\neth->h_proto = 0;           /* the packet may have moved */"
        "bpf_xdp_adjust_head(ctx, -8);\neth = (void *)(long)ctx->data;\nif ((void *)(eth + 1) > (void *)(long)ctx->data_end)\n\treturn XDP_DROP;\neth->h_proto = 0;"
    }
    MaybeNull {
        "a pointer that may be NULL is compared with NULL first"
        "What may find nothing returns a pointer or NULL. Before it is used, a comparison with NULL for equality must have excluded that on every path."
        "Accessing address 0 stops the kernel. Another comparison, such as `< 0`, tells the verifier nothing."
        "__u64 *count = bpf_map_lookup_elem(&packets, &key);\n*count += 1;"
        "__u64 *count = bpf_map_lookup_elem(&packets, &key);\nif (count)\n\t*count += 1;"
    }
    PointerArithmetic {
        "pointers are only moved"
        "Numbers may be added to and subtracted from pointers to memory, with 64 bits. Everything else (multiplying, masking, shifting, negating) is refused; so is moving pointers that stand for a thing as a whole: a map, a socket, the packet's end. The context cannot be moved before it is passed on or accessed with a variable offset."
        "After other arithmetic nobody knows where the pointer leads, and its bits could be given away."
        "queue = ((__u64)value * 31) & 7;   /* computes with the address */"
        "queue = (*value * 31) & 7;"
    }
    Unbounded {
        "what is added to a pointer, or is the size of memory, has bounds"
        "A number that moves a pointer needs a known smallest and largest value of moderate size; a size that is passed to a helper needs a largest value, and must not be negative."
        "A number of which nothing is known leads anywhere."
        "__u32 index = ctx->rx_queue_index;\ntable->slots[index] = 1;"
        "__u32 index = ctx->rx_queue_index;\nif (index >= 64)\n\treturn XDP_PASS;\ntable->slots[index] = 1;"
    }
    PacketBounds {
        "only what is known to exist of a packet is accessed"
        "Before a byte of the packet is read or written, a comparison with `data_end` must have shown on the path there that the packet is that long. It counts for the pointer that was compared and for those at a constant distance from it. After a number that is not constant was added, the comparison must be made anew."
        "Packets have any length, and what lies behind their end is not the program's."
        "struct ethhdr *eth = data;\nif (eth->h_proto == bpf_htons(ETH_P_IP))\n\treturn XDP_DROP;"
        "struct ethhdr *eth = data;\nif ((void *)(eth + 1) > data_end)\n\treturn XDP_PASS;\nif (eth->h_proto == bpf_htons(ETH_P_IP))\n\treturn XDP_DROP;"
    }
    MemoryBounds {
        "accesses stay within memory of known size"
        "A map value has the size that the map was declared with, a record the size it was reserved with. No access may begin before it or end behind it, for any value that the index may have."
        "What lies beside it belongs to others."
        "struct counters { __u64 packets[16]; };\ncounters->packets[eth->h_source[0]]++;   /* up to 255 */"
        "struct counters { __u64 packets[16]; };\ncounters->packets[eth->h_source[0] & 15]++;"
    }
    Stack {
        "the stack is used within its 512 bytes"
        "Every function has 512 bytes below R10. Accesses stay within them, also where the index is variable; a pointer that is kept there is written and read whole; memory on the stack that is passed to a helper is as large as the helper takes it to be."
        "Beside the frame lie the caller's and the kernel's. Half a pointer is no pointer."
        "char name[8];\nbpf_get_current_comm(name, 16);      /* eight bytes too many */"
        "char name[16];\nbpf_get_current_comm(name, sizeof(name));"
    }
    Context {
        "fields of the context are accessed as they were declared"
        "A program's type says what its context is: which fields there are, which can be written, and with which sizes they can be read. Offsets must be constants."
        "What programs see is not what the kernel has: loads and stores of fields are translated, each in its own way."
        "__u16 low = *(__u16 *)&ctx->rx_queue_index;   /* the field has four bytes */"
        "__u16 low = ctx->rx_queue_index;"
    }
    Alignment {
        "accesses are aligned where that matters"
        "On the stack, and for atomic operations everywhere, an access of 2, 4 or 8 bytes is at a multiple of its size. Elsewhere only if that was asked for when loading."
        "What is kept on the stack is followed in units of eight bytes, and processors do not promise atomicity across them."
        "struct { __u32 a; __u64 count; } __attribute__((packed)) *v = value;\n__sync_fetch_and_add(&v->count, 1);   /* at byte 4 */"
        "struct { __u32 a; __u32 pad; __u64 count; } *v = value;\n__sync_fetch_and_add(&v->count, 1);"
    }
    Permission {
        "memory is only written where it may be, and fields of the kernel are left alone"
        "Constants (`.rodata`), sockets and objects of the kernel can only be read, as can packets in programs of some types. Locks, timers and the like in map values are touched by their helpers only."
        "Others rely on what does not change."
        "const volatile int limit = 5;\n*(int *)&limit = 6;"
        "int limit = 5;             /* in .data */\nlimit = 6;"
    }
    HelperNotAllowed {
        "only helpers that the program may have are called"
        "Each program type has a list of helpers. Some are only for programs whose licence is compatible with the GPL, others only for programs that may sleep."
        "A helper relies on the place in the kernel from which it is called: there is no socket buffer in an XDP program, and nobody may wait in an interrupt."
        "SEC(\"xdp\")\nint prog(struct xdp_md *ctx)\n{\n\treturn bpf_skb_load_bytes((void *)ctx, 0, buffer, 4);\n}"
        "SEC(\"xdp\")\nint prog(struct xdp_md *ctx)\n{\n\treturn bpf_xdp_load_bytes(ctx, 0, buffer, 4);\n}"
    }
    HelperArgument {
        "helpers get the arguments that they were made for"
        "Every argument has a kind: the context, a map, a pointer to memory of which the next argument is the size, a number, a constant. What is passed must certainly be of that kind, must not be NULL unless that is allowed, and a size must not be negative or, mostly, zero."
        "Helpers do not check their arguments again."
        "bpf_get_stack(ctx, buffer, length, 0);   /* length is an int, perhaps negative */"
        "if (length < 0 || length > sizeof(buffer))\n\treturn 0;\nbpf_get_stack(ctx, buffer, length, 0);"
    }
    Map {
        "maps are used as their types allow"
        "Helpers work with maps of certain types, and program types cannot use some maps. Maps with locks or timers need type information."
        "Maps of different types have different operations behind the same pointer."
        "struct {\n\t__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);\n} events SEC(\".maps\");\nbpf_ringbuf_output(&events, &event, sizeof(event), 0);"
        "struct {\n\t__uint(type, BPF_MAP_TYPE_RINGBUF);\n\t__uint(max_entries, 4096);\n} events SEC(\".maps\");\nbpf_ringbuf_output(&events, &event, sizeof(event), 0);"
    }
    Reference {
        "what is acquired is given back, once, on every path"
        "Sockets from look-ups, records of ring buffers and other things that helpers hand out belong to the program until it gives them back. It must do so on every path to its end, before a tail call as well, and only once."
        "Nobody else would: the socket would never be freed, the ring buffer would stand still."
        "event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);\nif (!event)\n\treturn 0;\nif (uid == 0)\n\treturn 0;               /* the record is lost */\nbpf_ringbuf_submit(event, 0);"
        "event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);\nif (!event)\n\treturn 0;\nif (uid == 0) {\n\tbpf_ringbuf_discard(event, 0);\n\treturn 0;\n}\nbpf_ringbuf_submit(event, 0);"
    }
    Lock {
        "a lock is held briefly and released, and a section ends"
        "One `bpf_spin_lock` may be held at a time. Between lock and unlock no other helper is called; the lock that was taken is released on every path, before the program ends. So do sections that begin with `bpf_rcu_read_lock` or `bpf_preempt_disable`, in which nothing that may sleep is called."
        "Other processors wait for the lock without doing anything else; what an RCU section protects is not freed, and nothing else runs where preemption is off."
        "bpf_spin_lock(&account->lock);\nif (account->bytes > limit)\n\treturn 2;               /* the lock stays taken */\naccount->bytes += length;\nbpf_spin_unlock(&account->lock);"
        "bpf_spin_lock(&account->lock);\nfull = account->bytes > limit;\nif (!full)\n\taccount->bytes += length;\nbpf_spin_unlock(&account->lock);"
    }
    ReturnValue {
        "the program returns what the kernel understands"
        "Programs of some types must return a number in a certain range, and it must certainly be in it."
        "The kernel acts on the number without checking it again."
        "SEC(\"cgroup/bind4\")\nint prog(struct bpf_sock_addr *ctx)\n{\n\treturn -1;\n}"
        "SEC(\"cgroup/bind4\")\nint prog(struct bpf_sock_addr *ctx)\n{\n\treturn 0;               /* refuse */\n}"
    }
    Arithmetic {
        "constants of divisions and shifts make sense"
        "A constant divisor is not zero, and a constant shift is less than the number of bits. With values that are not constants this need not be proved: dividing by zero gives zero, and shifts use the low bits of the amount."
        "A constant that makes no sense is a mistake."
        "asm volatile(\"%0 <<= 64\" : \"+r\"(x));"
        "asm volatile(\"%0 <<= 63\" : \"+r\"(x));"
    }
    InfiniteLoop {
        "every loop makes progress"
        "If a path comes back to an instruction with everything as it was before, it will do so for ever, and the program is refused."
        "A program that does not end holds up the kernel."
        "while (ctx->rx_queue_index != 3)\n\t;"
        "for (int i = 0; i < 100; i++)\n\tsum += i;"
    }
    Budget {
        "verifying takes a limited effort"
        "Paths are walked one by one, loops round by round, and at most a million instructions are walked and 8,192 branches may wait for their other side to be walked."
        "Verifying must end as well. Branches in a loop double the paths with every round."
        "for (int i = 0; i < 1000000; i++)\n\tsum += i;"
        "static long add(__u32 i, void *sum)\n{\n\t*(__u64 *)sum += i;\n\treturn 0;\n}\n...\nbpf_loop(1000000, add, &sum, 0);"
    }
    CallDepth {
        "calls are nested within limits"
        "At most eight functions may be active, so none may call itself. The functions of a chain of calls have 512 bytes of stack together, and at most 256 before one that makes tail calls."
        "The kernel's stack is small, and programs run on it."
        "static __noinline int inner(void) { char buffer[300]; ... }\nint prog(void *ctx) { char buffer[300]; ... inner(); ... }"
        "static __noinline int inner(void) { char buffer[100]; ... }\nint prog(void *ctx) { char buffer[300]; ... inner(); ... }"
    }
    Atomic {
        "atomic operations are used on memory that is shared as memory"
        "Atomic operations work on map values, the stack and other memory, with four or eight bytes; not on the context, packets or sockets."
        "Accesses to the context are translated, which cannot be done to atomic ones; packets have no alignment."
        "__sync_fetch_and_add(&skb->mark, 1);"
        "skb->mark += 1;"
    }
    PacketLoad {
        "packet loads are used where there is a socket buffer"
        "The old instructions `LD_ABS` and `LD_IND` work in programs of socket filters and traffic control, with the context in R6, and only while nothing is held."
        "They end the program when the packet is too short."
        "SEC(\"xdp\")\nint prog(struct xdp_md *ctx) { return load_byte(ctx, 12); }"
        "SEC(\"socket\")\nint prog(struct __sk_buff *skb) { return load_byte(skb, 12); }"
    }
    MixedPointers {
        "an instruction accesses the same kind of memory on all paths"
        "A load or store whose address is a pointer to the context or a socket on one path must not be reached with a pointer of another kind on another."
        "Such accesses are translated for what they access. Compilers join accesses of two branches into one."
        "__u32 *from = found ? value : &skb->mark;\nskb->priority = *from;"
        "if (found)\n\tskb->priority = *(volatile __u32 *)value;\nelse\n\tskb->priority = skb->mark;"
    }
    PointerComparison {
        "pointers are compared with what they can be compared with"
        "Pointers are compared with NULL and with pointers into the same memory; a loader without privileges may not compare them otherwise."
        "The outcome of other comparisons gives the address away."
        "if ((__u64)value > 0x1000)\n\treturn 1;"
        "if (value)\n\treturn 1;"
    }
    Unsupported {
        "this verifier does not support it"
        "The kernel may accept the program, but it uses something that is not modelled here. What is not modelled is refused."
        "Accepting what was not checked would make the proof worthless."
        "/* depends on what the message names */"
        "/* depends on what the message names */"
    }
    Dynptr {
        "a dynamic pointer is made, used and given up by calls only"
        "A `struct bpf_dynptr` lies on the stack, in 16 bytes at a multiple of eight. It is made by a call, such as `bpf_dynptr_from_mem` or `bpf_ringbuf_reserve_dynptr`, before others use it. Stores over its bytes end it; over one to a record of a ring buffer, which must be submitted or discarded, there are none."
        "Its bytes are an address and a size of the kernel's, which nothing checks again."
        "struct bpf_dynptr record;\n\nbpf_ringbuf_reserve_dynptr(&events, 64, 0, &record);\nmemset(&record, 0, sizeof(record));"
        "struct bpf_dynptr record;\n\nbpf_ringbuf_reserve_dynptr(&events, 64, 0, &record);\nbpf_ringbuf_discard_dynptr(&record, 0);"
    }
    Object {
        "objects, lists and trees are used by their rules"
        "An object is allocated with `bpf_obj_new`. Who holds its reference owns it, and gives it back with `bpf_obj_drop`, to a list or tree, or to a map's value. Lists and trees hold objects of one type, by one node of it. What was put into one is only borrowed, until the lock is released; what is taken out is owned again."
        "An object that two owners give back, or that nobody does, corrupts or exhausts the kernel's memory."
        "bpf_list_push_front(&head, &item->node);\nbpf_list_push_front(&other, &item->node);   /* no longer ours */"
        "bpf_list_push_front(&head, &item->node);"
    }
    Exception {
        "functions that the kernel calls do not throw"
        "`bpf_throw` ends the program from within any of its functions, except those that the kernel calls: what `bpf_loop` calls back, or a timer, and whatever such a function calls."
        "The kernel takes down the program's frames, not those of its own that lie between."
        "static int look_at(__u64 index, struct search *search)\n{\n\tif (index == search->limit)\n\t\tbpf_throw(0);           /* out of bpf_loop */\n\treturn 0;\n}"
        "static int look_at(__u64 index, struct search *search)\n{\n\tif (index == search->limit)\n\t\treturn 1;               /* ends the loop */\n\treturn 0;\n}"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_explained() {
        for &rule in Rule::ALL {
            let explained = explain(rule);
            assert_eq!(explained.rule, rule);
            for sentence in [explained.what, explained.why] {
                assert!(sentence.ends_with('.'), "{rule}: {sentence}");
            }
            assert!(!explained.title.ends_with('.'), "{rule}");
            assert!(rule == Rule::Unsupported || explained.failing != explained.fixed, "{rule}");
        }
    }
}
