//! Which programs may call a kernel function, and what it requires: our tables and the live kernel.

use skep_bpf::platform::dynptr::{DYNPTR_KFUNCS, DynptrCall};
use skep_bpf::platform::kfunc::KFUNCS;
use skep_bpf::platform::object::{OBJECT_KFUNCS, OBJECT_PROG_TYPES};
use skep_bpf::platform::typed_kfunc::{KfuncFlags, TYPED_KFUNCS};
use skep_bpf::platform::{AttachType, ProgType};
use skep_kernel::{ProgSpec, Program, uapi};
use skep_verifier::KernelTypes;

/// Types of programs that can be loaded without a function or structure to attach to, and what
/// they are loaded for where that must be said.
const LOADED_ALONE: &[(ProgType, AttachType)] = &[
    (ProgType::SOCKET_FILTER, AttachType::UNSPECIFIED),
    (ProgType::KPROBE, AttachType::UNSPECIFIED),
    (ProgType::KPROBE, AttachType::TRACE_KPROBE_SESSION),
    (ProgType::SCHED_CLS, AttachType::UNSPECIFIED),
    (ProgType::SCHED_ACT, AttachType::UNSPECIFIED),
    (ProgType::TRACEPOINT, AttachType::UNSPECIFIED),
    (ProgType::XDP, AttachType::UNSPECIFIED),
    (ProgType::PERF_EVENT, AttachType::UNSPECIFIED),
    (ProgType::CGROUP_SKB, AttachType::UNSPECIFIED),
    (ProgType::CGROUP_SOCK, AttachType::CGROUP_INET_SOCK_CREATE),
    (ProgType::LWT_IN, AttachType::UNSPECIFIED),
    (ProgType::LWT_XMIT, AttachType::UNSPECIFIED),
    (ProgType::SOCK_OPS, AttachType::UNSPECIFIED),
    (ProgType::SK_SKB, AttachType::UNSPECIFIED),
    (ProgType::CGROUP_DEVICE, AttachType::UNSPECIFIED),
    (ProgType::SK_MSG, AttachType::UNSPECIFIED),
    (ProgType::RAW_TRACEPOINT, AttachType::UNSPECIFIED),
    (ProgType::CGROUP_SOCK_ADDR, AttachType::CGROUP_INET4_BIND),
    (ProgType::SK_REUSEPORT, AttachType::UNSPECIFIED),
    (ProgType::FLOW_DISSECTOR, AttachType::UNSPECIFIED),
    (ProgType::CGROUP_SYSCTL, AttachType::CGROUP_SYSCTL),
    (ProgType::CGROUP_SOCKOPT, AttachType::CGROUP_SETSOCKOPT),
    (ProgType::SK_LOOKUP, AttachType::SK_LOOKUP),
    (ProgType::SYSCALL, AttachType::UNSPECIFIED),
    (ProgType::NETFILTER, AttachType::NETFILTER),
];

/// A function that our tables know.
struct Known {
    name: &'static str,
    /// Who may call it; `None` is all.
    prog_types: Option<&'static [ProgType]>,
    /// What they must be loaded for; `None` is anything.
    attach_types: Option<&'static [AttachType]>,
    may_sleep: bool,
    /// It wants the context as a packet: the table names only those whose context is one, and the
    /// kernel refuses the others for their context.
    wants_packet: bool,
}

impl Known {
    const fn new(name: &'static str, prog_types: Option<&'static [ProgType]>) -> Known {
        Known { name, prog_types, attach_types: None, may_sleep: false, wants_packet: false }
    }
}

fn known() -> impl Iterator<Item = Known> {
    let plain = KFUNCS.iter().map(|row| Known::new(row.name, row.prog_types));
    let typed = TYPED_KFUNCS.iter().map(|row| Known {
        attach_types: row.attach_types,
        may_sleep: row.flags.contains(KfuncFlags::SLEEPABLE),
        ..Known::new(row.name, row.prog_types)
    });
    let dynptrs = DYNPTR_KFUNCS.iter().map(|row| Known {
        wants_packet: matches!(row.call, DynptrCall::FromContext(_)),
        ..Known::new(row.name, row.prog_types)
    });
    let objects = OBJECT_KFUNCS.iter().map(|row| Known::new(row.name, Some(OBJECT_PROG_TYPES)));
    plain.chain(typed).chain(dynptrs).chain(objects)
}

/// What the live kernel says of a program that does nothing but call a function.
fn refusal(id: u32, (prog_type, attach_type): (ProgType, AttachType)) -> String {
    let [a, b, c, d] = id.to_le_bytes();
    // call the kernel function; r0 = 0; exit
    let insns = [
        [0x85, 2 << 4, 0, 0, a, b, c, d],
        [0xb7, 0, 0, 0, 0, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    let flags = match prog_type {
        ProgType::SYSCALL => uapi::prog_flag::SLEEPABLE,
        _ => 0,
    };
    let spec = ProgSpec {
        prog_type: prog_type.0,
        expected_attach_type: attach_type.0,
        insns: &insns,
        licence: "GPL",
        flags,
        log_level: uapi::log_level::REASON,
        ..ProgSpec::default()
    };
    match Program::load(&spec) {
        Ok(_) => String::new(),
        Err(error) => error.log,
    }
}

#[test]
fn the_kernel_lets_the_same_programs_call() {
    if let Err(reason) = skep_kernel::available() {
        println!("skipped: {reason}");
        return;
    }
    let kernel = KernelTypes::new(|| {
        std::fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string())
    });
    let types = match kernel.types() {
        Ok(types) => types,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let (mut asked, mut absent, mut differ) = (0, Vec::new(), Vec::new());
    for Known { name, prog_types, attach_types, may_sleep, wants_packet } in known() {
        let Some(id) = types.find_func(name) else {
            absent.push(name);
            continue;
        };
        for &of in LOADED_ALONE {
            let log = refusal(id.0, of);
            let refused = format!("calling kernel function {name} is not allowed");
            let allowed = !log.contains(&refused);
            let ours = prog_types.is_none_or(|types| types.contains(&of.0))
                && attach_types.is_none_or(|types| types.contains(&of.1));
            if allowed != ours && !(allowed && wants_packet) {
                differ.push(format!("{name} from {}: the kernel allows it: {allowed}", of.0));
            }
            let sleeps = log.contains("program must be sleepable");
            if allowed && ours && of.0 != ProgType::SYSCALL && sleeps != may_sleep {
                differ.push(format!("{name}: the kernel says that it sleeps: {sleeps}"));
            }
            asked += 1;
        }
    }
    println!("{asked} calls; functions that this kernel does not have: {}", absent.len());
    assert!(asked > 0, "the kernel has none of the functions");
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
