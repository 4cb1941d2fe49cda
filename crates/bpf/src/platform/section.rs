//! Section names: what the name of an ELF section says about the program in it.
//!
//! The rows are libbpf's (1.5, with `uprobe.session` of 1.6). Objects older than libbpf 1.0 were
//! loaded by prefix (`xdp_drop`, `classifier/ingress`, `socket1`), and iproute2 names the
//! sections of tail-called programs `MAP/SLOT`; [`section_rule`] knows those as well and says so.

use super::prog_type::{AttachType, ProgType};

/// What may follow the name of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Nothing.
    Exact,
    /// Nothing, or `/` and the name of what the program attaches to.
    Target,
}

/// One of libbpf's section-name rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionRule {
    /// The name, such as `kprobe`.
    pub name: &'static str,
    /// What may follow it.
    pub pattern: Pattern,
    /// The type of the program.
    pub prog_type: ProgType,
    /// The attach type expected at loading; [`AttachType::UNSPECIFIED`] where libbpf leaves it open.
    pub attach_type: AttachType,
    /// What else the name says.
    pub traits: SectionTraits,
}

/// What a section name says besides the types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SectionTraits {
    /// The program may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// The program copes with packets in fragments (`BPF_F_XDP_HAS_FRAGS`).
    pub xdp_frags: bool,
    /// The target is found by BTF: a kernel function, or one of another program.
    pub typed_target: bool,
}

/// How a section name was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// By one of libbpf's rules.
    Rule(&'static SectionRule),
    /// By prefix, as before libbpf 1.0.
    Prefix(&'static SectionRule),
    /// As iproute2's `MAP/SLOT`: a program to be put into a slot of the program array with that
    /// id. Its type is that of its caller.
    TailCall {
        /// The id in the legacy definition of the program array.
        map_id: u32,
        /// The index in the array.
        slot: u32,
    },
}

/// What the name of a section says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// How it was understood.
    pub kind: SectionKind,
    /// What the program attaches to, if the name says so; for [`SectionKind::Prefix`] whatever
    /// follows the prefix.
    pub target: Option<&'a str>,
    /// Whether the program is loaded without being asked for. A leading `?` says it is not.
    pub autoload: bool,
}

impl Section<'_> {
    /// The rule, unless it is a tail-call section.
    pub fn rule(&self) -> Option<&'static SectionRule> {
        match self.kind {
            SectionKind::Rule(rule) | SectionKind::Prefix(rule) => Some(rule),
            SectionKind::TailCall { .. } => None,
        }
    }

    /// The program type; [`ProgType::UNSPEC`] for a tail-call section.
    pub fn prog_type(&self) -> ProgType {
        self.rule().map_or(ProgType::UNSPEC, |rule| rule.prog_type)
    }

    /// The expected attach type; [`AttachType::UNSPECIFIED`] for a tail-call section.
    pub fn attach_type(&self) -> AttachType {
        self.rule().map_or(AttachType::UNSPECIFIED, |rule| rule.attach_type)
    }

    /// What else the name says.
    pub fn traits(&self) -> SectionTraits {
        self.rule().map_or(SectionTraits::default(), |rule| rule.traits)
    }
}

/// Understands a section name. `None`: it does not look like that of a program.
///
/// ```
/// use skep_bpf::platform::{ProgType, section_rule};
///
/// let section = section_rule("kprobe/do_unlinkat").expect("libbpf knows it");
/// assert_eq!(section.prog_type(), ProgType::KPROBE);
/// assert_eq!(section.target, Some("do_unlinkat"));
/// ```
pub fn section_rule(name: &str) -> Option<Section<'_>> {
    let (name, autoload) = match name.strip_prefix('?') {
        Some(rest) => (rest, false),
        None => (name, true),
    };
    let (kind, target) = by_rule(name).or_else(|| tail_call(name)).or_else(|| by_prefix(name))?;
    Some(Section { kind, target, autoload })
}

/// The types that a name on the command line means: a section name (`xdp`, `cgroup/connect4`),
/// the name of a program type (`sched_cls`) or its constant.
pub fn types_named(name: &str) -> Option<(ProgType, AttachType)> {
    if let Some((SectionKind::Rule(rule), _)) = by_rule(name) {
        return Some((rule.prog_type, rule.attach_type));
    }
    let prog_type = ProgType::named(name)?;
    // The first rule of a type is not always its plainest: prefer one without attach type.
    let mut rules = SECTION_RULES.iter().filter(|rule| rule.prog_type == prog_type);
    let open = rules.clone().find(|rule| rule.attach_type == AttachType::UNSPECIFIED);
    let attach_type = match open {
        Some(_) => AttachType::UNSPECIFIED,
        None => rules.next_back().map_or(AttachType::UNSPECIFIED, |rule| rule.attach_type),
    };
    Some((prog_type, attach_type))
}

fn by_rule(name: &str) -> Option<(SectionKind, Option<&str>)> {
    SECTION_RULES.iter().find_map(|rule| {
        let rest = name.strip_prefix(rule.name)?;
        let target = match (rule.pattern, rest.strip_prefix('/')) {
            (_, None) if rest.is_empty() => None,
            (Pattern::Target, Some(target)) => Some(target),
            _ => return None,
        };
        Some((SectionKind::Rule(rule), target))
    })
}

/// The longest rule that begins the name and is not followed by another letter.
fn by_prefix(name: &str) -> Option<(SectionKind, Option<&str>)> {
    let rest_of = |rule: &SectionRule| {
        let rest = name.strip_prefix(rule.name)?;
        rest.starts_with(|c: char| !c.is_ascii_alphabetic()).then_some(rest)
    };
    let rule = SECTION_RULES
        .iter()
        .filter(|rule| rest_of(rule).is_some())
        .max_by_key(|rule| rule.name.len())?;
    let rest = rest_of(rule)?.trim_start_matches(['/', '_', '-', '.']);
    Some((SectionKind::Prefix(rule), (!rest.is_empty()).then_some(rest)))
}

fn tail_call(name: &str) -> Option<(SectionKind, Option<&str>)> {
    let (map_id, slot) = name.split_once('/')?;
    let kind = SectionKind::TailCall { map_id: c_number(map_id)?, slot: c_number(slot)? };
    Some((kind, None))
}

/// A number as C's `strtol` reads it with base 0, without a sign.
fn c_number(text: &str) -> Option<u32> {
    let (digits, radix) = if let Some(digits) = text.strip_prefix("0x") {
        (digits, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (text, 8)
    } else {
        (text, 10)
    };
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

macro_rules! section_rules {
    ($($name:literal, $pattern:ident, $prog:ident, $attach:ident, [$($flag:ident),*];)*) => {
        /// libbpf's rules, in its order: the first that fits counts.
        pub static SECTION_RULES: &[SectionRule] = &[$( SectionRule {
            name: $name,
            pattern: Pattern::$pattern,
            prog_type: ProgType::$prog,
            attach_type: AttachType::$attach,
            traits: SectionTraits {
                $($flag: true,)*
                ..SectionTraits { sleepable: false, xdp_frags: false, typed_target: false }
            },
        }, )*];
    };
}

section_rules! {
    "socket", Exact, SOCKET_FILTER, UNSPECIFIED, [];
    "sk_reuseport/migrate", Exact, SK_REUSEPORT, SK_REUSEPORT_SELECT_OR_MIGRATE, [];
    "sk_reuseport", Exact, SK_REUSEPORT, SK_REUSEPORT_SELECT, [];
    "kprobe", Target, KPROBE, UNSPECIFIED, [];
    "uprobe", Target, KPROBE, UNSPECIFIED, [];
    "uprobe.s", Target, KPROBE, UNSPECIFIED, [sleepable];
    "kretprobe", Target, KPROBE, UNSPECIFIED, [];
    "uretprobe", Target, KPROBE, UNSPECIFIED, [];
    "uretprobe.s", Target, KPROBE, UNSPECIFIED, [sleepable];
    "kprobe.multi", Target, KPROBE, TRACE_KPROBE_MULTI, [];
    "kretprobe.multi", Target, KPROBE, TRACE_KPROBE_MULTI, [];
    "kprobe.session", Target, KPROBE, TRACE_KPROBE_SESSION, [];
    "uprobe.session", Target, KPROBE, TRACE_UPROBE_SESSION, [];
    "uprobe.session.s", Target, KPROBE, TRACE_UPROBE_SESSION, [sleepable];
    "uprobe.multi", Target, KPROBE, TRACE_UPROBE_MULTI, [];
    "uretprobe.multi", Target, KPROBE, TRACE_UPROBE_MULTI, [];
    "uprobe.multi.s", Target, KPROBE, TRACE_UPROBE_MULTI, [sleepable];
    "uretprobe.multi.s", Target, KPROBE, TRACE_UPROBE_MULTI, [sleepable];
    "ksyscall", Target, KPROBE, UNSPECIFIED, [];
    "kretsyscall", Target, KPROBE, UNSPECIFIED, [];
    "usdt", Target, KPROBE, UNSPECIFIED, [];
    "usdt.s", Target, KPROBE, UNSPECIFIED, [sleepable];
    "tc/ingress", Exact, SCHED_CLS, TCX_INGRESS, [];
    "tc/egress", Exact, SCHED_CLS, TCX_EGRESS, [];
    "tcx/ingress", Exact, SCHED_CLS, TCX_INGRESS, [];
    "tcx/egress", Exact, SCHED_CLS, TCX_EGRESS, [];
    "tc", Exact, SCHED_CLS, UNSPECIFIED, [];
    "classifier", Exact, SCHED_CLS, UNSPECIFIED, [];
    "action", Exact, SCHED_ACT, UNSPECIFIED, [];
    "netkit/primary", Exact, SCHED_CLS, NETKIT_PRIMARY, [];
    "netkit/peer", Exact, SCHED_CLS, NETKIT_PEER, [];
    "tracepoint", Target, TRACEPOINT, UNSPECIFIED, [];
    "tp", Target, TRACEPOINT, UNSPECIFIED, [];
    "raw_tracepoint", Target, RAW_TRACEPOINT, UNSPECIFIED, [];
    "raw_tp", Target, RAW_TRACEPOINT, UNSPECIFIED, [];
    "raw_tracepoint.w", Target, RAW_TRACEPOINT_WRITABLE, UNSPECIFIED, [];
    "raw_tp.w", Target, RAW_TRACEPOINT_WRITABLE, UNSPECIFIED, [];
    "tp_btf", Target, TRACING, TRACE_RAW_TP, [typed_target];
    "fentry", Target, TRACING, TRACE_FENTRY, [typed_target];
    "fmod_ret", Target, TRACING, MODIFY_RETURN, [typed_target];
    "fexit", Target, TRACING, TRACE_FEXIT, [typed_target];
    "fentry.s", Target, TRACING, TRACE_FENTRY, [sleepable, typed_target];
    "fmod_ret.s", Target, TRACING, MODIFY_RETURN, [sleepable, typed_target];
    "fexit.s", Target, TRACING, TRACE_FEXIT, [sleepable, typed_target];
    "freplace", Target, EXT, UNSPECIFIED, [typed_target];
    "lsm", Target, LSM, LSM_MAC, [typed_target];
    "lsm.s", Target, LSM, LSM_MAC, [sleepable, typed_target];
    "lsm_cgroup", Target, LSM, LSM_CGROUP, [typed_target];
    "iter", Target, TRACING, TRACE_ITER, [typed_target];
    "iter.s", Target, TRACING, TRACE_ITER, [sleepable, typed_target];
    "syscall", Exact, SYSCALL, UNSPECIFIED, [sleepable];
    "xdp.frags/devmap", Exact, XDP, XDP_DEVMAP, [xdp_frags];
    "xdp/devmap", Exact, XDP, XDP_DEVMAP, [];
    "xdp.frags/cpumap", Exact, XDP, XDP_CPUMAP, [xdp_frags];
    "xdp/cpumap", Exact, XDP, XDP_CPUMAP, [];
    "xdp.frags", Exact, XDP, XDP, [xdp_frags];
    "xdp", Exact, XDP, XDP, [];
    "perf_event", Exact, PERF_EVENT, UNSPECIFIED, [];
    "lwt_in", Exact, LWT_IN, UNSPECIFIED, [];
    "lwt_out", Exact, LWT_OUT, UNSPECIFIED, [];
    "lwt_xmit", Exact, LWT_XMIT, UNSPECIFIED, [];
    "lwt_seg6local", Exact, LWT_SEG6LOCAL, UNSPECIFIED, [];
    "sockops", Exact, SOCK_OPS, CGROUP_SOCK_OPS, [];
    "sk_skb/stream_parser", Exact, SK_SKB, SK_SKB_STREAM_PARSER, [];
    "sk_skb/stream_verdict", Exact, SK_SKB, SK_SKB_STREAM_VERDICT, [];
    "sk_skb/verdict", Exact, SK_SKB, SK_SKB_VERDICT, [];
    "sk_skb", Exact, SK_SKB, UNSPECIFIED, [];
    "sk_msg", Exact, SK_MSG, SK_MSG_VERDICT, [];
    "lirc_mode2", Exact, LIRC_MODE2, LIRC_MODE2, [];
    "flow_dissector", Exact, FLOW_DISSECTOR, FLOW_DISSECTOR, [];
    "cgroup_skb/ingress", Exact, CGROUP_SKB, CGROUP_INET_INGRESS, [];
    "cgroup_skb/egress", Exact, CGROUP_SKB, CGROUP_INET_EGRESS, [];
    "cgroup/skb", Exact, CGROUP_SKB, UNSPECIFIED, [];
    "cgroup/sock_create", Exact, CGROUP_SOCK, CGROUP_INET_SOCK_CREATE, [];
    "cgroup/sock_release", Exact, CGROUP_SOCK, CGROUP_INET_SOCK_RELEASE, [];
    "cgroup/sock", Exact, CGROUP_SOCK, CGROUP_INET_SOCK_CREATE, [];
    "cgroup/post_bind4", Exact, CGROUP_SOCK, CGROUP_INET4_POST_BIND, [];
    "cgroup/post_bind6", Exact, CGROUP_SOCK, CGROUP_INET6_POST_BIND, [];
    "cgroup/bind4", Exact, CGROUP_SOCK_ADDR, CGROUP_INET4_BIND, [];
    "cgroup/bind6", Exact, CGROUP_SOCK_ADDR, CGROUP_INET6_BIND, [];
    "cgroup/connect4", Exact, CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT, [];
    "cgroup/connect6", Exact, CGROUP_SOCK_ADDR, CGROUP_INET6_CONNECT, [];
    "cgroup/connect_unix", Exact, CGROUP_SOCK_ADDR, CGROUP_UNIX_CONNECT, [];
    "cgroup/sendmsg4", Exact, CGROUP_SOCK_ADDR, CGROUP_UDP4_SENDMSG, [];
    "cgroup/sendmsg6", Exact, CGROUP_SOCK_ADDR, CGROUP_UDP6_SENDMSG, [];
    "cgroup/sendmsg_unix", Exact, CGROUP_SOCK_ADDR, CGROUP_UNIX_SENDMSG, [];
    "cgroup/recvmsg4", Exact, CGROUP_SOCK_ADDR, CGROUP_UDP4_RECVMSG, [];
    "cgroup/recvmsg6", Exact, CGROUP_SOCK_ADDR, CGROUP_UDP6_RECVMSG, [];
    "cgroup/recvmsg_unix", Exact, CGROUP_SOCK_ADDR, CGROUP_UNIX_RECVMSG, [];
    "cgroup/getpeername4", Exact, CGROUP_SOCK_ADDR, CGROUP_INET4_GETPEERNAME, [];
    "cgroup/getpeername6", Exact, CGROUP_SOCK_ADDR, CGROUP_INET6_GETPEERNAME, [];
    "cgroup/getpeername_unix", Exact, CGROUP_SOCK_ADDR, CGROUP_UNIX_GETPEERNAME, [];
    "cgroup/getsockname4", Exact, CGROUP_SOCK_ADDR, CGROUP_INET4_GETSOCKNAME, [];
    "cgroup/getsockname6", Exact, CGROUP_SOCK_ADDR, CGROUP_INET6_GETSOCKNAME, [];
    "cgroup/getsockname_unix", Exact, CGROUP_SOCK_ADDR, CGROUP_UNIX_GETSOCKNAME, [];
    "cgroup/sysctl", Exact, CGROUP_SYSCTL, CGROUP_SYSCTL, [];
    "cgroup/getsockopt", Exact, CGROUP_SOCKOPT, CGROUP_GETSOCKOPT, [];
    "cgroup/setsockopt", Exact, CGROUP_SOCKOPT, CGROUP_SETSOCKOPT, [];
    "cgroup/dev", Exact, CGROUP_DEVICE, CGROUP_DEVICE, [];
    "struct_ops", Target, STRUCT_OPS, UNSPECIFIED, [];
    "struct_ops.s", Target, STRUCT_OPS, UNSPECIFIED, [sleepable];
    "sk_lookup", Exact, SK_LOOKUP, SK_LOOKUP, [];
    "netfilter", Exact, NETFILTER, NETFILTER, [];
}

#[cfg(test)]
mod tests;
