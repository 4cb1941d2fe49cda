//! Return values: what the number a program returns means, by program type.
//!
//! Numbers and names: `linux/bpf.h` and `linux/pkt_cls.h`.

use super::prog_type::ProgType;

/// What one return value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnRow {
    /// The value of w0, the lower half of r0.
    pub value: u32,
    /// The name of the constant, such as `XDP_PASS`.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub meaning: &'static str,
}

macro_rules! returns {
    ($(
        $(#[$doc:meta])* $table:ident [$($prog:ident),+] {
            $($name:ident = $value:expr, $meaning:literal;)*
        }
    )*) => {
        $(
            $(#[$doc])*
            pub static $table: &[ReturnRow] = &[$( ReturnRow {
                value: $value,
                name: stringify!($name),
                meaning: $meaning,
            }, )*];
        )*

        /// The named return values of a program type; none if its numbers have no names.
        pub fn returns_of(prog_type: ProgType) -> &'static [ReturnRow] {
            match prog_type {
                $($(ProgType::$prog)|+ => $table,)*
                _ => &[],
            }
        }
    };
}

returns! {
    /// Verdicts of XDP programs.
    XDP_ACTIONS [XDP] {
        XDP_ABORTED = 0, "The packet is dropped and the error traced.";
        XDP_DROP = 1, "The packet is dropped.";
        XDP_PASS = 2, "The packet goes on to the stack.";
        XDP_TX = 3, "The packet is sent back out of the interface it came from.";
        XDP_REDIRECT = 4, "The packet goes where the redirect helper said.";
    }
    /// Verdicts of traffic control programs.
    TC_ACTIONS [SCHED_CLS, SCHED_ACT] {
        TC_ACT_UNSPEC = u32::MAX, "The next filter, or the default action, decides.";
        TC_ACT_OK = 0, "The packet goes on.";
        TC_ACT_RECLASSIFY = 1, "Classification starts again.";
        TC_ACT_SHOT = 2, "The packet is dropped.";
        TC_ACT_PIPE = 3, "The next action decides.";
        TC_ACT_STOLEN = 4, "The packet is taken without counting as dropped.";
        TC_ACT_QUEUED = 5, "The packet is taken and kept.";
        TC_ACT_REPEAT = 6, "The action is repeated.";
        TC_ACT_REDIRECT = 7, "The packet goes where the redirect helper said.";
        TC_ACT_TRAP = 8, "The hardware hands the packet to the processor.";
    }
    /// Verdicts on the data of sockets.
    SK_ACTIONS [SK_SKB, SK_MSG, SK_REUSEPORT, SK_LOOKUP] {
        SK_DROP = 0, "The data or connection is dropped.";
        SK_PASS = 1, "The data or connection goes on, or where the helper said.";
    }
    /// Verdicts of lightweight tunnel programs.
    LWT_ACTIONS [LWT_IN, LWT_OUT, LWT_XMIT, LWT_SEG6LOCAL] {
        BPF_OK = 0, "The packet goes on.";
        BPF_DROP = 2, "The packet is dropped.";
        BPF_REDIRECT = 7, "The packet goes where the redirect helper said.";
        BPF_LWT_REROUTE = 128, "The packet changed and is routed again.";
    }
    /// Results of flow dissectors.
    FLOW_DISSECTOR_RESULTS [FLOW_DISSECTOR] {
        BPF_OK = 0, "The flow keys are filled in.";
        BPF_DROP = 2, "The packet cannot be dissected.";
        BPF_FLOW_DISSECTOR_CONTINUE = 129, "The kernel's own dissector takes over.";
    }
    /// Verdicts of netfilter programs.
    NETFILTER_VERDICTS [NETFILTER] {
        NF_DROP = 0, "The packet is dropped.";
        NF_ACCEPT = 1, "The packet goes on.";
    }
}

/// The name of a return value of a program of this type.
pub fn return_name(prog_type: ProgType, value: u32) -> Option<&'static str> {
    name_in(returns_of(prog_type), value)
}

/// The name of what an XDP program returned.
pub fn xdp_action(value: u32) -> Option<&'static str> {
    name_in(XDP_ACTIONS, value)
}

/// The name of what a traffic control program returned.
pub fn tc_action(value: u32) -> Option<&'static str> {
    name_in(TC_ACTIONS, value)
}

fn name_in(rows: &'static [ReturnRow], value: u32) -> Option<&'static str> {
    rows.iter().find(|row| row.value == value).map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use super::{return_name, tc_action, xdp_action};
    use crate::platform::ProgType;

    #[test]
    fn names_of_verdicts() {
        assert_eq!(xdp_action(2), Some("XDP_PASS"));
        assert_eq!(xdp_action(5), None);
        assert_eq!(tc_action(u32::MAX), Some("TC_ACT_UNSPEC"));
        assert_eq!(return_name(ProgType::SK_MSG, 1), Some("SK_PASS"));
        assert_eq!(return_name(ProgType::SOCKET_FILTER, 1), None);
    }
}
