//! Small programs whose verdicts once differed from the live kernel's, found by comparing random
//! ones. What the kernel says stands beside each.

use skep_bpf::codec::Slot;
use skep_bpf::platform::{AttachType, MapType, ProgType};
use skep_bpf::program::Bytecode;
use skep_bpf::text::parse::assemble;
use skep_verifier::{Input, MapFacts, Profile, verify};

/// The verdict on a socket filter with a map of programs and an array: `None`, or the sentence.
fn verdict(bytecode: &Bytecode) -> Option<String> {
    let maps =
        [MapFacts::new(MapType::PROG_ARRAY, 4, 4, 4), MapFacts::new(MapType::ARRAY, 4, 64, 1)];
    let input = Input {
        bytecode,
        prog_type: ProgType::SOCKET_FILTER,
        attach_type: AttachType::UNSPECIFIED,
        maps: &maps,
        functions: &[],
        gpl_compatible: true,
        sleepable: false,
        profile: Profile::linux(4),
    };
    verify(&input).err().map(|rejection| rejection.message)
}

fn of_text(text: &str) -> Option<String> {
    verdict(&assemble(text).expect("assembly").bytecode("test"))
}

/// A tail call that comes back leaves nothing in r0.
#[test]
fn tail_calls_return_nothing() {
    let text = "r2 = map_by_idx(0) ll\nr3 = 0\ncall 12\n";
    assert_eq!(of_text(&format!("{text}exit")).as_deref(), Some("R0 !read_ok"));
    assert_eq!(of_text(&format!("{text}r0 = 0\nexit")), None);
}

/// Linux 6.18 follows the bits of swapped bytes.
#[test]
fn swapped_bytes_are_known() {
    let access = "r2 = map_val_by_idx(1, 0) ll\nr2 += r1\nr0 = *(u8 *)(r2 + 0)\nr0 = 0\nexit";
    // A number up to 63 in the upper byte of two comes to the lower one.
    for swap in ["r1 = be16 r1", "r1 = bswap16 r1"] {
        let text = format!("r1 = *(u32 *)(r1 + 0)\nr1 &= 16128\n{swap}\n{access}");
        assert_eq!(of_text(&text), None, "{swap}");
    }
    let text = format!("r1 = *(u32 *)(r1 + 0)\nr1 &= 63\nr1 = le64 r1\n{access}");
    assert_eq!(of_text(&text), None);
    let text = format!("r1 = *(u32 *)(r1 + 0)\nr1 &= 63\nr1 = be16 r1\n{access}");
    let sentence = of_text(&text).expect("a rejection");
    assert!(sentence.contains("outside of the allowed memory range"), "{sentence}");
}

/// The offset of an exit means nothing, and is not looked at; the other fields are.
#[test]
fn exits_have_any_offset() {
    let with_exit = |exit| verdict(&Bytecode::from(vec![Slot::new(0xb7, 0, 0, 0, 0), exit]));
    assert_eq!(with_exit(Slot::new(0x95, 0, 0, 0x4000, 0)), None);
    for exit in [Slot::new(0x95, 0, 0, 1, 1), Slot::new(0x95, 1, 0, 1, 0)] {
        let sentence = with_exit(exit);
        assert_eq!(sentence.as_deref(), Some("BPF_EXIT uses reserved fields"));
    }
}
