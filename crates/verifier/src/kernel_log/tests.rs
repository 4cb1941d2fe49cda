//! Lines as Linux 6.18 prints them.

use super::*;
use crate::domain::Scalar;
use skep_bpf::insn::Reg;

fn line(text: &str) -> Entry<'_> {
    parse_line(text).expect("a line of the log")
}

#[test]
fn instructions_carry_what_they_touched() {
    let entry = line(
        "11: (63) *(u32 *)(r10 -24) = r1       ; R1=scalar(id=1,smin=umin=smin32=umin32=8,\
         smax=umax=smax32=umax32=255,var_off=(0x0; 0xff)) R10=fp0 fp-24=????P7",
    );
    let Entry::Insn { insn: 11, opcode: 0x63, text, state: Some(state) } = entry else {
        panic!("{entry:?}")
    };
    assert_eq!(text, "*(u32 *)(r10 -24) = r1");
    let r1 = state.register(Reg::R1).expect("R1 is listed");
    assert_eq!((r1.id, r1.value.wide().umin, r1.value.low().smax), (Some(1), 8, 255));
    assert_eq!(r1.value.tnum().to_string(), "(0x0; 0xff)");
    let [(-24, Slot::Spilled { above: "????", register })] = state.slots.as_slice() else {
        panic!("{:?}", state.slots)
    };
    assert!(register.precise && register.scalar() == Some(Scalar::constant(7)));
    assert_eq!(
        line("6: (95) exit"),
        Entry::Insn { insn: 6, opcode: 0x95, text: "exit", state: None }
    );
}

#[test]
fn states_list_registers_slots_and_references() {
    let entry = line(
        "from 9 to 12 (speculative execution): frame1: R1=scalar(id=2-4) R2=fp[0]-16 \
         R3=map_value(map=m,ks=4,vs=8,smin=smin32=0,smax=umax=smax32=umax32=7,var_off=(0x0; 0x7)) \
         R10=fp0 fp-8=mmmm00?? fp-16=iter_num(ref_id=3,state=active,depth=2) \
         fp-32=dynptr_ringbuf(ref_id=5,dynptr_id=6) fp-40=0000map_value(off=4,ks=4,vs=8) refs=3,5 cb",
    );
    let Entry::From { from: 9, to: 12, speculative: true, state: Some(state) } = entry else {
        panic!("{entry:?}")
    };
    assert_eq!((state.frame, state.refs.as_slice(), state.in_callback), (1, &[3, 5][..], true));
    assert_eq!(state.registers[0].1.delta, Some(-4));
    assert_eq!(
        (state.registers[1].1.kind, state.registers[1].1.offset),
        (Kind::Stack(Some(0)), -16)
    );
    assert_eq!(state.registers[2].1.value.wide().umax, 7);
    assert_eq!(state.slots[0].1, Slot::Bytes("mmmm00??"));
    assert!(matches!(state.slots[1].1, Slot::Iterator { name: "num", depth: 2, .. }));
    assert!(matches!(state.slots[2].1, Slot::Dynptr { ref_id: Some(5), dynptr_id: Some(6), .. }));
    let Slot::Spilled { above: "0000", register } = &state.slots[3].1 else { panic!() };
    assert_eq!((register.offset, register.value), (4, Scalar::constant(0)));
}

#[test]
fn other_lines_are_told_apart() {
    assert_eq!(line("func#1 @7"), Entry::Function { index: 1, insn: 7 });
    assert_eq!(
        line("  1  12: 01.....7.. (07) r0 += 1"),
        Entry::LiveRegisters {
            component: Some(1),
            insn: 12,
            registers: 0x83,
            text: "(07) r0 += 1"
        }
    );
    assert_eq!(
        line("; x += 1; @ prog.c:9"),
        Entry::Source { text: "x += 1;", place: Some(("prog.c", 9)) }
    );
    assert_eq!(line("8: safe"), Entry::Safe { insn: 8, speculative: false });
    assert_eq!(line("to caller at 9:"), Entry::Frame(FrameHeading::ToCaller(9)));
    assert!(matches!(line(" frame1: R0=1 R10=fp0"), Entry::FrameState(State { frame: 1, .. })));
    assert_eq!(
        line("(1,10) frame 0 insn 18 +live -8 -live -16,-24"),
        Entry::StackLiveness {
            chain: vec![1, 10],
            frame: 0,
            insn: 18,
            changes: vec![(SlotChange::Live, vec![-8]), (SlotChange::NotLive, vec![-16, -24])],
        }
    );
    assert_eq!(
        line("mark_precise: frame0: regs=r1,r8 stack=-16 before 7: (bf) r8 = r0"),
        Entry::Precision(Precision::Before {
            frame: 0,
            registers: 0x102,
            slots: vec![-16],
            insn: 7,
            text: "(bf) r8 = r0"
        })
    );
    assert!(matches!(
        line("mark_precise: frame1: parent state regs=r4 stack=:  frame1: R1=2 R4=P0 R10=fp0"),
        Entry::Precision(Precision::Parent { registers: 0x10, .. })
    ));
    assert_eq!(line("stack depth 24+0"), Entry::StackDepth(vec![24, 0]));
    let statistics = "processed 16 insns (limit 1000000) max_states_per_insn 0 total_states 2 \
                      peak_states 3 mark_read 0";
    let Entry::Processed(processed) = line(statistics) else { panic!() };
    assert_eq!((processed.insns, processed.total_states, processed.peak_states), (16, 2, 3));
    assert_eq!(line("R2 !read_ok"), Entry::Message("R2 !read_ok"));
}

#[test]
fn pointer_types_have_parts() {
    let name = PointerName("rcu_trusted_ptr_or_null_task_struct");
    assert_eq!(name.modifiers().collect::<Vec<_>>(), ["rcu", "trusted"]);
    assert_eq!((name.base(), name.is_nullable()), ("ptr_", true));
    assert_eq!(name.btf_type(), Some("task_struct"));
    let name = PointerName("map_value_or_null");
    assert_eq!((name.base(), name.is_nullable(), name.btf_type()), ("map_value", true, None));
}

#[test]
fn bad_lines_name_the_piece() {
    let log =
        "0: R1=ctx() R10=fp0\n1: (b7) r0 = 0 ; R0=scalar(umin=x)\n2: R0=scalar(umin=9,umax=8)\n";
    let errors: Vec<_> = entries(log).filter_map(|(_, entry)| entry.err()).collect();
    assert_eq!(errors[0].to_string(), "line 2: expected a number, found `x`");
    assert_eq!(
        errors[1].to_string(),
        "line 3: expected bounds that are not empty, found `umin=9,umax=8`"
    );
}

#[test]
fn damaged_lines_are_errors_or_messages() {
    let lines = [
        "from 9 to 12: frame1: R1=Pscalar(id=2-4,smin=umin=1,var_off=(0x0; 0xff)) R2=fp[0]-16 \
         fp-16=iter_num(ref_id=3,state=active,depth=2) fp-32=dynptr_skb(id=1) refs=3,5 cb",
        "  1  12: 01.....7.. (07) r0 += 1",
        "(1,10) frame 0 insn 18 +live -8 -written -16,-24",
        "mark_precise: frame0: regs=r1,r8 stack=-16 before 7: (bf) r8 = r0",
        "processed 16 insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 3 mark_read 0",
    ];
    let mut seed = 1u64;
    let mut next = |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % limit
    };
    let mut outcomes = [0; 2];
    for _ in 0..20_000 {
        let mut text: Vec<char> = lines[next(lines.len())].chars().collect();
        for _ in 0..=next(4) {
            if text.is_empty() {
                break;
            }
            let at = next(text.len());
            match next(3) {
                0 => text[at] = ['(', ')', ' ', '=', ',', '9', '-', 'é', 'P'][next(9)],
                1 => drop(text.remove(at)),
                _ => text.truncate(at + 1),
            }
        }
        let line: String = text.into_iter().collect();
        outcomes[usize::from(parse_line(&line).is_err())] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 1000), "{outcomes:?}");
    let marks = format!("0: R0={}7", "P".repeat(1 << 20));
    assert!(parse_line(&marks).is_err());
}
