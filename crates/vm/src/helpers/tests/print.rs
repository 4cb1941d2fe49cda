//! The formatter against the live kernel's `bpf_snprintf` and `bpf_trace_printk`.

use skep_bpf::platform::{HelperId, ProgType};
use skep_kernel::{Map, MapSpec, relocate, uapi};

use super::{Bench, Numbers, kernel_is_here, kernel_load, kernel_run};

/// What programs print strings from, in the kernel and here.
const STRINGS: &[u8] =
    b"text\0\0one two three\0\xc3\xa4\xff\0\xc0\xa8\x01\xfe\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01%d\0";

/// Bytes for output: more than any format here fills.
const OUT_BYTES: usize = 2048;

/// An argument: a number, or an address in the strings.
#[derive(Clone, Copy, Debug)]
enum Arg {
    Number(u64),
    Address(u32),
}

/// What the kernel said to a format: refused when loaded, or the result and the output.
type Answer = Option<(i32, Vec<u8>)>;

struct Kernel {
    strings: Map,
}

fn array(value_size: usize, flags: u32) -> Map {
    let spec = MapSpec {
        map_type: uapi::map_type::ARRAY,
        key_size: 4,
        value_size: value_size as u32,
        max_entries: 1,
        flags,
        ..MapSpec::default()
    };
    Map::create(&spec).unwrap()
}

fn filled(bytes: &[u8], flags: u32) -> Map {
    let map = array(bytes.len(), flags);
    map.update(&[0; 4], bytes, 0).unwrap();
    map.freeze().unwrap();
    map
}

fn insn(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> [u8; 8] {
    skep_bpf::codec::Slot::new(opcode, dst, src, offset, imm).to_bytes()
}

fn load64(dst: u8, src: u8, low: u32, high: u32) -> [[u8; 8]; 2] {
    [insn(0x18, dst, src, 0, low as i32), insn(0, 0, 0, 0, high as i32)]
}

const VALUE_OF_MAP: u8 = 6;

impl Kernel {
    fn snprintf(&self, template: &[u8], args: &[Arg], room: usize) -> Answer {
        let rdonly = uapi::map_flag::RDONLY_PROG;
        let format = filled(&[template, b"\0"].concat(), rdonly);
        let out = array(OUT_BYTES, 0);
        let mut code = Vec::new();
        for (index, arg) in args.iter().enumerate() {
            code.extend(match arg {
                Arg::Number(number) => load64(1, 0, *number as u32, (number >> 32) as u32),
                Arg::Address(offset) => load64(1, VALUE_OF_MAP, 2, *offset),
            });
            code.push(insn(0x7b, 10, 1, 8 * (index as i16 - args.len() as i16), 0));
        }
        code.extend(load64(1, VALUE_OF_MAP, 1, 0));
        code.push(insn(0xb7, 2, 0, 0, room as i32));
        code.extend(load64(3, VALUE_OF_MAP, 0, 0));
        code.push(insn(0xbf, 4, 10, 0, 0));
        code.push(insn(0x07, 4, 0, 0, -8 * args.len() as i32));
        if args.is_empty() {
            code.push(insn(0xb7, 4, 0, 0, 0));
        }
        code.push(insn(0xb7, 5, 0, 0, 8 * args.len() as i32));
        code.push(insn(0x85, 0, 0, 0, HelperId::SNPRINTF.0 as i32));
        code.push(insn(0x95, 0, 0, 0, 0));
        relocate(&mut code, &[&format, &out, &self.strings]).unwrap();
        let program = match kernel_load(ProgType::XDP, &code) {
            Ok(program) => program,
            Err(error) => {
                let log = error.to_string();
                assert!(log.contains("Invalid format string"), "{log}");
                return None;
            }
        };
        let result = kernel_run(&program, &[0; 64], &[]).unwrap();
        Some((result.retval as i32, out.lookup(&[0; 4]).unwrap().unwrap()))
    }
}

fn snprintf(bench: &mut Bench, template: &[u8], args: &[Arg], room: usize) -> Answer {
    let strings = bench.place(STRINGS);
    let format = bench.place(&[template, b"\0"].concat());
    let out = bench.place(&[0; OUT_BYTES]);
    let values = args.iter().flat_map(|arg| match arg {
        Arg::Number(number) => number.to_le_bytes(),
        Arg::Address(offset) => (strings + u64::from(*offset)).to_le_bytes(),
    });
    let values = bench.place(&values.collect::<Vec<_>>());
    let call = [out, room as u64, format, values, 8 * args.len() as u64];
    let result = bench.call(HelperId::SNPRINTF, call).unwrap() as i32;
    let text = bench.read(out, OUT_BYTES);
    for area in [strings, format, out, values] {
        bench.machine.memory().free(area as u32);
    }
    (result != -22).then_some((result, text))
}

fn show(text: &Answer) -> String {
    match text {
        None => "refused".to_owned(),
        Some((result, bytes)) => {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            format!("{result} {:?}", String::from_utf8_lossy(&bytes[..end]))
        }
    }
}

fn compare(bench: &mut Bench, kernel: &Kernel, template: &[u8], args: &[Arg], room: usize) -> bool {
    let there = kernel.snprintf(template, args, room);
    let here = snprintf(bench, template, args, room);
    assert!(
        here == there,
        "{:?} {args:x?} in {room}: {}, in the kernel {}",
        String::from_utf8_lossy(template),
        show(&here),
        show(&there)
    );
    there.is_some()
}

fn kernel() -> Option<Kernel> {
    kernel_is_here().then(|| Kernel { strings: filled(STRINGS, 0) })
}

#[test]
fn chosen_formats_print_as_in_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let mut bench = Bench::new();
    let numbers = [0, 1, 9, 255, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 1 << 63, u64::MAX];
    for conversion in ["d", "i", "u", "x", "X", "ld", "li", "lu", "lx", "lX", "lld", "llu", "llx"] {
        for flags in
            ["", "0", "-", "+", " ", "08", "-8", "+8", "25", "-025", "+-08", " 08", "0 +12"]
        {
            for number in numbers {
                let template = format!("<%{flags}{conversion}>");
                compare(&mut bench, &kernel, template.as_bytes(), &[Arg::Number(number)], 64);
            }
        }
    }
    let mut accepted = 0;
    let formats: &[&[u8]] = &[
        b"",
        b"%",
        b"%%",
        b"100%%",
        b"%d",
        b"%d %d",
        b"%q",
        b"%#x",
        b"%.3d",
        b"%*d",
        b"%hd",
        b"%zd",
        b"%5%",
        b"%lld",
        b"%llld",
        b"%lp",
        b"%n",
        b"%e",
        b"%o",
        b"%p",
        b"%20p",
        b"%-20p|",
        b"%p.",
        b"%pa",
        b"%px",
        b"%24px",
        b"%-24px|",
        b"%pxabc",
        b"%ps",
        b"%20ps|",
        b"%-20pS|",
        b"%pB",
        b"%pBx",
        b"%20pB",
        b"%pK",
        b"%pe",
        b"%pI",
        b"%pi",
        b"%pI5",
        b"%c",
        b"%5c",
        b"%-5c|",
        b"%05c",
        b"%ca",
        b"tab\tline\n",
        b"bell\x07",
        b"\x80",
        b"\xc3\xa4 %d",
        b"%\xc3",
        b"%d\xa0",
        b"%s\xc3",
        b"%sa",
        b"%s.",
        b"%s",
        b"%pks",
        b"%pksa",
        b"%pk",
        b"%99999d",
        b"%4294967297d",
        b"%99999999999d",
        b"%3000s|",
        b"%lc",
        b"%ls",
        b"%0%",
        b"% d",
        b"%-",
        b"%l",
        b"%pI4abc%d",
    ];
    for template in formats {
        // The kernel prints a hash of other addresses than NULL and errors.
        let hashed = [&b"%p"[..], b"%p.", b"%20p", b"%-20p|", b"%pK"].contains(template);
        let chosen: &[u64] = &[0, -5i64 as u64, 1, 65, 0x1234];
        for number in if hashed { &chosen[..2] } else { chosen } {
            for count in 0..3 {
                for room in [0, 1, 6, 64] {
                    let args = vec![Arg::Number(*number); count];
                    let accepted_here = compare(&mut bench, &kernel, template, &args, room);
                    accepted += u32::from(accepted_here);
                }
            }
        }
    }
    println!("{accepted} chosen formats were accepted and printed alike");
}

#[test]
fn strings_and_addresses_print_as_in_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let mut bench = Bench::new();
    let ipv4 = STRINGS.windows(4).position(|four| four == [192, 168, 1, 254]).unwrap() as u32;
    let formats: &[(&str, u32)] = &[
        ("%s", 0),
        ("%s", 6),
        ("%10s|", 0),
        ("%-10s|", 0),
        ("%010s|", 0),
        ("%s", 20),
        ("%pks", 6),
        ("%20pks|", 6),
        ("%pI4", ipv4),
        ("%pi4", ipv4),
        ("%30pI4|", ipv4),
        ("%pI6", ipv4 + 4),
        ("%pi6", ipv4 + 4),
        ("%pI6c", ipv4 + 4),
        ("%pI4h", ipv4),
        ("%s", 4),
    ];
    for (template, offset) in formats {
        for room in [0, 3, 8, 100] {
            let args = [Arg::Address(*offset), Arg::Number(7), Arg::Address(0)];
            for tail in ["", " %d", " %d %s"] {
                let template = format!("{template}{tail}");
                compare(&mut bench, &kernel, template.as_bytes(), &args, room);
            }
        }
    }
}

/// Random formats of all that is accepted and some that is not.
#[test]
fn random_formats_print_as_in_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let mut bench = Bench::new();
    let mut numbers = Numbers(11);
    let mut accepted = 0;
    for _ in 0..1500 {
        let mut template = Vec::new();
        let mut args = Vec::new();
        for _ in 0..=numbers.below(6) {
            template.extend(*numbers.pick(&[
                &b""[..],
                b" ",
                b"a=",
                b"%%",
                b", ",
                b"\xc3\xb6",
                b"\t",
            ]));
            let (conversion, arg) = random_conversion(&mut numbers);
            template.push(b'%');
            for _ in 0..numbers.below(3) {
                template.extend(*numbers.pick(&[b"0", b"-", b"+", b" "]));
            }
            if numbers.below(2) == 0 {
                template.extend(numbers.below(40).to_string().bytes());
            }
            template.extend(conversion.bytes());
            args.push(arg);
        }
        // Where nothing more fits the kernel leaves packed text unread, and prints what an
        // earlier call left between the packed arguments as numbers.
        let packs_text = args.iter().any(|arg| matches!(arg, Arg::Address(_)))
            || template.windows(2).any(|two| two == b"pB");
        let room = if packs_text { 900 } else { *numbers.pick(&[1, 5, 17, 40, 128, 500]) };
        accepted += u32::from(compare(&mut bench, &kernel, &template, &args, room));
    }
    println!("1500 random formats: {accepted} accepted and printed alike, the rest refused alike");
    assert!(accepted > 500);
}

fn random_conversion(numbers: &mut Numbers) -> (&'static str, Arg) {
    let number = match numbers.below(3) {
        0 => numbers.below(300),
        1 => numbers.next() as i32 as i64 as u64,
        _ => numbers.next(),
    };
    match numbers.below(7) {
        0 => (*numbers.pick(&["s", "pks"]), Arg::Address(numbers.below(20) as u32)),
        1 => (*numbers.pick(&["pI4", "pi4", "pI6", "pi6"]), Arg::Address(numbers.below(30) as u32)),
        2 => ("c", Arg::Number(number)),
        3 => (*numbers.pick(&["px", "ps", "pS", "pB"]), Arg::Number(number % 65536)),
        _ => {
            let conversions =
                ["d", "i", "u", "x", "X", "ld", "lu", "lx", "lX", "lld", "llu", "llx"];
            (*numbers.pick(&conversions), Arg::Number(number))
        }
    }
}

/// `bpf_trace_printk` gives lengths and errors when it runs; its format lies on the stack.
#[test]
fn printk_returns_what_the_kernel_returns() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let formats: &[&[u8]] = &[
        b"Hello World %d\0",
        b"no end",
        b"%d %d %d %d\0",
        b"%d %lx %s\0",
        b"%",
        b"%\0",
        b"\x07\0",
        b"%llu bytes\n\0",
        b"%1100d\0",
        b"%q\0",
        b"cut\0%q\0",
        b"%s %s %s\0",
        b"\xc3\xa4\0",
        b"\0",
    ];
    for format in formats {
        let len = format.len();
        let padded = [*format, &[0; 32][len..]].concat();
        let mut code = Vec::new();
        for (index, word) in padded.chunks(8).enumerate() {
            let word = u64::from_le_bytes(word.try_into().unwrap());
            code.extend(load64(1, 0, word as u32, (word >> 32) as u32));
            code.push(insn(0x7b, 10, 1, 8 * index as i16 - 32, 0));
        }
        code.push(insn(0xbf, 1, 10, 0, 0));
        code.push(insn(0x07, 1, 0, 0, -32));
        for (reg, value) in [(2, len as i32), (3, -7), (4, 1 << 20), (5, 0)] {
            code.push(insn(0xb7, reg, 0, 0, value));
        }
        code.push(insn(0x85, 0, 0, 0, HelperId::TRACE_PRINTK.0 as i32));
        code.push(insn(0x95, 0, 0, 0, 0));
        let program = kernel_load(ProgType::XDP, &code).unwrap();
        let there = kernel_run(&program, &[0; 64], &[]).unwrap().retval as i32;
        let at = bench.place(&padded);
        let args = [at, len as u64, -7i64 as u64, 1 << 20, 0];
        let here = bench.call(HelperId::TRACE_PRINTK, args).unwrap() as i32;
        assert_eq!(here, there, "{:?}", String::from_utf8_lossy(format));
    }
    let printed = bench.printed.lock();
    assert_eq!(printed[0], "Hello World -7");
    assert_eq!(printed[2], "18446744073709551609 bytes\n");
    let wide = printed.iter().find(|text| text.len() > 100).unwrap();
    assert_eq!((wide.len(), wide.trim()), (1023, ""));
}

#[test]
fn vprintk_takes_twelve_arguments() {
    let mut bench = Bench::new();
    let template = bench.place(b"%d%d%d%d%d%d%d%d%d%d%d%d\0");
    let args = bench.place(&(1..=13u64).flat_map(u64::to_le_bytes).collect::<Vec<_>>());
    let mut print = |bytes| bench.call(HelperId::TRACE_VPRINTK, [template, 25, args, bytes, 0]);
    assert_eq!(print(96), Ok(15));
    assert_eq!(print(88), Ok(-22i64 as u64), "an argument too few");
    assert_eq!(print(104), Ok(-22i64 as u64), "more than the kernel takes");
    assert_eq!(print(95), Ok(-22i64 as u64), "no multiple of eight");
    assert_eq!(*bench.printed.lock(), ["123456789101112"]);
}

#[test]
fn memory_that_is_not_there_traps() {
    let mut bench = Bench::new();
    let error = bench.call(HelperId::TRACE_PRINTK, [16, 4, 0, 0, 0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 1 of bpf_trace_printk: read of 4 bytes at 0x10 is not allowed"
    );
}
