//! Section names of libbpf's own tests and of objects seen in the wild.

use super::{Pattern, SECTION_RULES, SectionKind, section_rule, types_named};
use crate::platform::{AttachType, ProgType};

/// (name, program type, attach type, target)
const BY_RULE: &[(&str, ProgType, AttachType, Option<&str>)] = &[
    ("xdp", ProgType::XDP, AttachType::XDP, None),
    ("xdp.frags", ProgType::XDP, AttachType::XDP, None),
    ("xdp/devmap", ProgType::XDP, AttachType::XDP_DEVMAP, None),
    ("tc", ProgType::SCHED_CLS, AttachType::UNSPECIFIED, None),
    ("tcx/ingress", ProgType::SCHED_CLS, AttachType::TCX_INGRESS, None),
    ("kprobe", ProgType::KPROBE, AttachType::UNSPECIFIED, None),
    ("kprobe/do_unlinkat", ProgType::KPROBE, AttachType::UNSPECIFIED, Some("do_unlinkat")),
    (
        "uprobe//proc/self/exe:f",
        ProgType::KPROBE,
        AttachType::UNSPECIFIED,
        Some("/proc/self/exe:f"),
    ),
    ("kprobe.multi/bpf_*", ProgType::KPROBE, AttachType::TRACE_KPROBE_MULTI, Some("bpf_*")),
    (
        "tp/sched/sched_switch",
        ProgType::TRACEPOINT,
        AttachType::UNSPECIFIED,
        Some("sched/sched_switch"),
    ),
    ("tp_btf/task_newtask", ProgType::TRACING, AttachType::TRACE_RAW_TP, Some("task_newtask")),
    ("lsm_cgroup/socket_bind", ProgType::LSM, AttachType::LSM_CGROUP, Some("socket_bind")),
    ("cgroup/connect4", ProgType::CGROUP_SOCK_ADDR, AttachType::CGROUP_INET4_CONNECT, None),
    ("cgroup_skb/egress", ProgType::CGROUP_SKB, AttachType::CGROUP_INET_EGRESS, None),
    ("struct_ops.s/init", ProgType::STRUCT_OPS, AttachType::UNSPECIFIED, Some("init")),
];

/// (name, program type, target)
const BY_PREFIX: &[(&str, ProgType, Option<&str>)] = &[
    ("xdp_drop", ProgType::XDP, Some("drop")),
    ("xdp1", ProgType::XDP, Some("1")),
    ("xdp/redirect", ProgType::XDP, Some("redirect")),
    ("socket1", ProgType::SOCKET_FILTER, Some("1")),
    ("socket/0", ProgType::SOCKET_FILTER, Some("0")),
    ("classifier/ingress", ProgType::SCHED_CLS, Some("ingress")),
    ("tc_ingress", ProgType::SCHED_CLS, Some("ingress")),
    ("cgroup/connect4_proxy", ProgType::CGROUP_SOCK_ADDR, Some("proxy")),
    ("lwt_in_count", ProgType::LWT_IN, Some("count")),
];

#[test]
fn names_of_libbpf() {
    for (name, prog_type, attach_type, target) in BY_RULE {
        let section = section_rule(name).unwrap_or_else(|| panic!("{name} is a program section"));
        assert!(matches!(section.kind, SectionKind::Rule(_)), "{name}: {section:?}");
        assert_eq!(section.prog_type(), *prog_type, "{name}");
        assert_eq!(section.attach_type(), *attach_type, "{name}");
        assert_eq!(section.target, *target, "{name}");
        assert!(section.autoload);
    }
}

#[test]
fn names_from_before_libbpf_1() {
    for (name, prog_type, target) in BY_PREFIX {
        let section = section_rule(name).unwrap_or_else(|| panic!("{name} is a program section"));
        assert!(matches!(section.kind, SectionKind::Prefix(_)), "{name}: {section:?}");
        assert_eq!(section.prog_type(), *prog_type, "{name}");
        assert_eq!(section.target, *target, "{name}");
    }
}

#[test]
fn tail_call_sections() {
    for (name, map_id, slot) in [("2/7", 2, 7), ("1/0x1010", 1, 0x1010), ("0/0", 0, 0)] {
        let section = section_rule(name).unwrap_or_else(|| panic!("{name} is a program section"));
        assert_eq!(section.kind, SectionKind::TailCall { map_id, slot });
        assert_eq!(section.prog_type(), ProgType::UNSPEC);
    }
}

#[test]
fn names_that_say_nothing() {
    for name in [
        "",
        "?",
        ".text",
        "maps",
        ".maps",
        "license",
        "version",
        "tcp_data",
        "2/x",
        "/",
        "a/1",
        "2/-7",
        "2/+7",
        "4294967296/1",
    ] {
        assert_eq!(section_rule(name), None, "{name}");
    }
}

#[test]
fn traits_and_autoload() {
    let section = section_rule("?fentry.s/bpf_fentry_test1").expect("libbpf knows it");
    assert!(!section.autoload);
    assert!(section.traits().sleepable);
    assert!(section.traits().typed_target);
    assert!(section_rule("xdp.frags/cpumap").expect("libbpf knows it").traits().xdp_frags);
}

#[test]
fn every_rule_finds_itself() {
    for rule in SECTION_RULES {
        let section = section_rule(rule.name).expect("a rule fits its own name");
        assert_eq!(section.kind, SectionKind::Rule(rule), "{}", rule.name);
        if rule.pattern == Pattern::Exact {
            continue;
        }
        let name = alloc::format!("{}/x", rule.name);
        assert_eq!(section_rule(&name).and_then(|section| section.target), Some("x"), "{name}");
    }
}

#[test]
fn names_on_the_command_line() {
    assert_eq!(types_named("xdp"), Some((ProgType::XDP, AttachType::XDP)));
    assert_eq!(types_named("classifier"), Some((ProgType::SCHED_CLS, AttachType::UNSPECIFIED)));
    assert_eq!(types_named("sched_cls"), Some((ProgType::SCHED_CLS, AttachType::UNSPECIFIED)));
    assert_eq!(
        types_named("raw_tracepoint"),
        Some((ProgType::RAW_TRACEPOINT, AttachType::UNSPECIFIED))
    );
    assert_eq!(types_named("sk_lookup"), Some((ProgType::SK_LOOKUP, AttachType::SK_LOOKUP)));
    assert_eq!(types_named("BPF_PROG_TYPE_XDP"), Some((ProgType::XDP, AttachType::XDP)));
    assert_eq!(
        types_named("cgroup/connect6"),
        Some((ProgType::CGROUP_SOCK_ADDR, AttachType::CGROUP_INET6_CONNECT))
    );
    assert_eq!(types_named("xdp_drop"), None);
}
