//! Contexts against the live kernel.

use skep_bpf::platform::context::{FieldKind, FieldRow, Part, SK_BUFF, context_for};
use skep_bpf::platform::{AttachType, ProgType};

use super::{ContextError, Skb, Xdp};
use crate::helpers::tests::{Bench, Numbers, kernel_is_here, kernel_program, kernel_run, load};
use crate::run::{Options, RunError};

const TYPES: [ProgType; 7] = [
    ProgType::SOCKET_FILTER,
    ProgType::SCHED_CLS,
    ProgType::SCHED_ACT,
    ProgType::CGROUP_SKB,
    ProgType::LWT_IN,
    ProgType::LWT_OUT,
    ProgType::LWT_XMIT,
];

const CB: usize = super::offset_of(&SK_BUFF, "cb");

/// Packets of several protocols and receivers.
fn packets() -> Vec<Vec<u8>> {
    let mut numbers = Numbers(5);
    let mut packets = Vec::new();
    let protocols: [&[u8]; 7] =
        [&[8, 0], &[0x86, 0xdd], &[8, 6], &[0x81, 0], &[0, 46], &[0, 46, 0xff, 0xff], &[6, 0]];
    let receivers: [[u8; 6]; 4] = [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0, 9]];
    for protocol in protocols {
        for receiver in receivers {
            let mut packet = receiver.to_vec();
            packet.extend(numbers.bytes(6));
            packet.extend(protocol);
            packet.extend(numbers.bytes(60));
            packets.push(packet);
        }
    }
    packets
}

/// Loads of all that programs of a type may read, one element each, kept in `cb`: not every type
/// may return any number.
fn loads(prog_type: ProgType) -> Vec<(&'static FieldRow, String)> {
    let access = context_for(prog_type, AttachType::UNSPECIFIED).unwrap();
    let fields =
        access.fields.grants.iter().filter(|grant| grant.read.is_some()).map(|grant| grant.field);
    let numbers = fields.filter(|field| field.kind == FieldKind::Scalar);
    numbers
        .flat_map(|field| (0..field.count).map(move |index| (field, index)))
        .map(|(field, index)| {
            let bits = field.element_size * 8;
            let offset = field.offset + index * field.element_size;
            let text = format!(
                "r2 = *(u{bits} *)(r1 + {offset})
                 *(u32 *)(r1 + {CB}) = r2
                 r2 >>= 32
                 *(u32 *)(r1 + {}) = r2
                 r0 = 1
                 exit",
                CB + 4
            );
            (field, text)
        })
        .collect()
}

#[test]
fn fields_read_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut compared = 0;
    for prog_type in TYPES {
        for (field, text) in loads(prog_type) {
            let loaded = load(&bench.machine, prog_type, &text);
            let kernel = kernel_program(prog_type, &text);
            for packet in packets() {
                let mut here = Skb::new(prog_type, packet.clone());
                bench.run(&loaded, &mut here);
                let there = kernel_run(&kernel, &packet, &[0; SK_BUFF.size as usize]).unwrap();
                let cb = [&here.cb[0].to_le_bytes()[..], &here.cb[1].to_le_bytes()].concat();
                let what = format!("{} of {prog_type} on {:02x?}", field.name, &packet[..16]);
                assert_eq!(cb, there.ctx_out[CB..CB + 8], "{what}");
                compared += 1;
            }
        }
    }
    println!("{compared} loads of fields compared");
}

#[test]
fn lengths_are_refused_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut compared = 0;
    for prog_type in [ProgType::SCHED_CLS, ProgType::SOCKET_FILTER, ProgType::XDP] {
        let loaded = load(&bench.machine, prog_type, "r0 = 0\nexit");
        let kernel = kernel_program(prog_type, "r0 = 0\nexit");
        for protocol in [0x800u16, 0x86dd, 0x806] {
            for len in 0..80 {
                let mut packet = vec![0; 12];
                packet.extend(protocol.to_be_bytes());
                packet.resize(len, 0);
                let there = kernel_run(&kernel, &packet, &[]);
                let options = Options::default();
                let here = match prog_type {
                    ProgType::XDP => loaded.run(&mut bench.cpu, &mut Xdp::new(packet), options),
                    _ => loaded.run(&mut bench.cpu, &mut Skb::new(prog_type, packet), options),
                };
                assert_eq!(here.is_ok(), there.is_ok(), "{prog_type} {protocol:#x} {len}");
                if let Err(error) = here {
                    let RunError::Context(ContextError::PacketLength { min, .. }) = error else {
                        panic!("{error}")
                    };
                    assert!(len < min);
                }
                compared += 1;
            }
        }
    }
    println!("{compared} lengths compared");
}

#[test]
fn writes_are_read_back_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for prog_type in [ProgType::SCHED_CLS, ProgType::CGROUP_SKB, ProgType::LWT_XMIT] {
        let access = context_for(prog_type, AttachType::UNSPECIFIED).unwrap();
        let mut text = String::new();
        let writable = access.fields.grants.iter().filter(|grant| grant.write.is_some());
        for (value, grant) in (0x0102_0304u32..).step_by(0x1111).zip(writable) {
            assert!(matches!(grant.write, Some(Part::Whole | Part::NarrowOrPair)));
            let (field, bits) = (grant.field, grant.field.element_size * 8);
            for index in 0..field.count {
                let offset = field.offset + index * field.element_size;
                text += &format!("*(u{bits} *)(r1 + {offset}) = {}\n", value + index);
            }
        }
        text += "r0 = 1\nexit";
        let packet = packets().remove(0);
        let mut here = Skb::new(prog_type, packet.clone());
        (here.mark, here.priority, here.tstamp) = (1, 2, 3);
        let loaded = load(&bench.machine, prog_type, &text);
        bench.run(&loaded, &mut here);
        let context = [0; SK_BUFF.size as usize];
        let there = kernel_run(&kernel_program(prog_type, &text), &packet, &context).unwrap();
        let at = |name: &str, len: usize| {
            let offset = SK_BUFF.field(name).unwrap().offset as usize;
            there.ctx_out[offset..offset + len].to_vec()
        };
        assert_eq!(at("mark", 4), here.mark.to_le_bytes(), "{prog_type}");
        assert_eq!(at("priority", 4), here.priority.to_le_bytes(), "{prog_type}");
        assert_eq!(at("cb", 20), here.cb.map(u32::to_le_bytes).concat(), "{prog_type}");
        let tstamp = if prog_type == ProgType::LWT_XMIT { 0 } else { here.tstamp };
        assert_eq!(at("tstamp", 8), tstamp.to_le_bytes(), "{prog_type}");
        assert_eq!(here.tc_index >> 16, 0);
    }
}

/// Direct access to the packet's bytes, from where each type sees it begin to its end.
#[test]
fn data_begins_where_it_does_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let data = SK_BUFF.field("data").unwrap().offset;
    for prog_type in [ProgType::SCHED_CLS, ProgType::LWT_IN, ProgType::LWT_XMIT] {
        for at in [0, 13, 14, 30, 59, 60, 73, 74] {
            let text = format!(
                "r2 = *(u32 *)(r1 + {data})
                 r3 = *(u32 *)(r1 + {})
                 r0 = -1
                 r4 = r2
                 r4 += {}
                 if r4 > r3 goto +1
                 r0 = *(u8 *)(r2 + {at})
                 *(u32 *)(r1 + {CB}) = r0
                 r0 = 0
                 exit",
                data + 4,
                at + 1
            );
            let packet = packets().remove(1);
            let mut here = Skb::new(prog_type, packet.clone());
            let loaded = load(&bench.machine, prog_type, &text);
            bench.run(&loaded, &mut here);
            let context = [0; SK_BUFF.size as usize];
            let there = kernel_run(&kernel_program(prog_type, &text), &packet, &context).unwrap();
            assert_eq!(there.ctx_out[CB..CB + 4], here.cb[0].to_le_bytes(), "{prog_type} {at}");
        }
    }
}

#[test]
fn deprecated_loads_are_the_kernels() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let offsets = [0, 1, 13, 14, 56, 57, 58, 59, 60, 70, 72, 73, 74, 75, i32::MAX, i32::MIN, -1]
        .into_iter()
        .chain(
            [0, 1, 14, 59, 60, 73, 74].into_iter().flat_map(|at| [at - 0x10_0000, at - 0x20_0000]),
        );
    let mut compared = 0;
    for offset in offsets.chain([-0x10_0001, -0x20_0001]) {
        for (abs, indirect) in [(0x20, 0x40), (0x28, 0x48), (0x30, 0x50)] {
            for prog_type in [ProgType::SOCKET_FILTER, ProgType::SCHED_CLS] {
                let slots = |opcode, imm, index: i32| {
                    use skep_bpf::codec::Slot;
                    vec![
                        Slot::new(0xbf, 6, 1, 0, 0),
                        Slot::new(0xb7, 7, 0, 0, index),
                        Slot::new(opcode, 0, 7 * (opcode >> 6), 0, imm),
                        Slot::new(0x07, 0, 0, 0, 3),
                        Slot::new(0x95, 0, 0, 0, 0),
                    ]
                };
                for code in [slots(abs, offset, 0), slots(indirect, 5, offset.wrapping_sub(5))] {
                    compared += 1;
                    bench.compare_skb(prog_type, code, &packets()[0]);
                }
            }
        }
    }
    println!("{compared} deprecated loads compared");
}

#[test]
fn runs_do_not_see_the_ones_before() {
    let mut bench = Bench::new();
    // Adds up all bytes of the frame but the packet's.
    let text = "r2 = *(u32 *)(r1 + 0)
        r3 = *(u32 *)(r1 + 4)
        r1 = r2
        r1 += -256
        r0 = 0
        again:
        r4 = *(u8 *)(r1 + 0)
        r0 += r4
        r1 += 1
        if r1 < r2 goto again
        r1 = r3
        r2 += 3520
        rest:
        r4 = *(u8 *)(r1 + 0)
        r0 += r4
        r1 += 1
        if r1 < r2 goto rest
        exit";
    let loaded = load(&bench.machine, ProgType::UNSPEC, text);
    for len in [3519, 60, 1500, 14] {
        let mut packet = Xdp { meta: vec![0xff; 32], ..Xdp::new(vec![0xff; len]) };
        packet.meta.truncate(if len == 60 { 0 } else { 32 });
        let finished = loaded.run(&mut bench.cpu, &mut packet, Options::default()).unwrap();
        assert_eq!(finished.r0, 0xff * packet.meta.len() as u64, "{len} bytes");
    }
}

#[test]
fn large_packets_fit() {
    let mut bench = Bench::new();
    let loaded = load(&bench.machine, ProgType::XDP, "r2 = 64\ncall bpf_xdp_adjust_tail\nexit");
    let mut packet = Xdp::new(vec![3; 65_536]);
    assert_eq!(bench.run(&loaded, &mut packet).r0, 0);
    assert_eq!((packet.packet.len(), packet.packet[65_535], packet.packet[65_536]), (65_600, 3, 0));
    let error = loaded.run(&mut bench.cpu, &mut Xdp::new(vec![0; 300_000]), Options::default());
    let expected = "a packet of 300000 bytes: XDP takes from 14 to 262144 bytes";
    assert_eq!(error.unwrap_err().to_string(), expected);
}

#[test]
fn inputs_that_do_not_suit_are_refused() {
    let mut bench = Bench::new();
    let loaded = load(&bench.machine, ProgType::XDP, "r0 = 0\nexit");
    let mut packet = Skb::new(ProgType::SCHED_CLS, vec![0; 60]);
    let error = loaded.run(&mut bench.cpu, &mut packet, Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "the input is not what programs of type xdp take");
    let mut packet = Xdp { meta: vec![0; 5], ..Xdp::new(vec![0; 60]) };
    let error = loaded.run(&mut bench.cpu, &mut packet, Options::default()).unwrap_err();
    assert!(error.to_string().contains("multiple of 4"), "{error}");
}
