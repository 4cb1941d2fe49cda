//! Damaged input: see `skep_tests::robustness`.

use skep_tests::robustness;

/// Random bytes for each property, the same in every run; the fuzzers look further.
#[test]
fn any_bytes_are_survived() {
    let mut state = 0x243f_6a88_85a3_08d3_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    for round in 0..3000 {
        let len = 64 + 8 * (round % 20);
        let bytes: Vec<u8> = (0..len).map(|_| next()).collect();
        robustness::codec(&bytes);
        robustness::run(&bytes);
        robustness::object(&bytes);
        robustness::text(&bytes);
    }
}
