//! `skep jit`: the machine code of a program, beside its eBPF instructions and their C lines.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValue};
use serde::Serialize;
use skep::machine::Loaded;
use skep::prepare::Verification;
use skep_bpf::program::Pc;
use skep_bpf::text::c_like::Decimal;
use skep_jit::code::{Code, Place};
use skep_jit::ssa::Passes;
use skep_jit::{CompileOptions, Target as CompilerTarget, Tier, a64, x64};

use crate::assembly::{Arch, Line, Syntax, disassemble};
use crate::failure::Failure;
use crate::input::Target;
use crate::render::{FAINT, HEADING, Render};
use crate::session::{Opened, Session, Wanted, type_named};

/// Shows the machine code of a program beside its instructions and their C lines.
///
/// The optimising compiler moves and merges instructions: machine code stands under the
/// instruction that it was made for.
#[derive(Args, Debug)]
pub struct Jit {
    /// The object: FILE.o, or FILE.o:NAME where there are several programs
    #[arg(value_name = "FILE.o")]
    target: Target,
    /// What the code is for; this machine's if none is named
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ARCH")]
    arch: Vec<Arch>,
    /// Which compiler makes it: 1 is the template compiler, 2 the optimising one
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIER", default_value = "2")]
    tier: Vec<TierNumber>,
    /// Show the optimising compiler's own form of the program instead of machine code: as it is
    /// built, or after all passes
    #[arg(long, value_enum, value_name = "WHEN", conflicts_with_all = ["arch", "tier", "json"])]
    ssa: Option<When>,
    /// How instructions of x86 are written
    #[arg(long, value_enum, value_name = "SYNTAX", default_value = "intel")]
    syntax: Syntax,
    /// The program's type, in place of what its section says (xdp, tc, socket, ...)
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Compile the program whether it is safe or not: with all that keeps it in bounds
    #[arg(long)]
    unverified: bool,
    /// The kernel's types, where a program needs them; /sys/kernel/btf/vmlinux if not given
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A point in the optimising compiler's work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum When {
    /// Before the passes
    Built,
    /// After them
    Optimised,
}

/// A compiler by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct TierNumber(Tier);

impl ValueEnum for TierNumber {
    fn value_variants<'a>() -> &'a [TierNumber] {
        &[TierNumber(Tier::Template), TierNumber(Tier::Optimising)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(if self.number() == 1 { "1" } else { "2" }))
    }
}

impl TierNumber {
    fn number(self) -> u8 {
        match self.0 {
            Tier::Template => 1,
            _ => 2,
        }
    }
}

/// What was compiled, as a document.
#[derive(Serialize, Debug)]
struct Document {
    object: String,
    program: String,
    codes: Vec<Compiled>,
}

/// A program's code on one machine by one compiler.
#[derive(Serialize, Debug)]
struct Compiled {
    arch: &'static str,
    tier: u8,
    bytes: usize,
    code: Vec<Item>,
}

/// A machine instruction.
#[derive(Serialize, Debug)]
struct Item {
    offset: usize,
    bytes: String,
    text: String,
    /// The slot of the eBPF instruction that it was made for.
    insn: Option<usize>,
    source: Option<String>,
}

/// Runs the command.
///
/// # Errors
///
/// If the object cannot be read, or the program is not safe or not compiled.
pub fn run(arguments: &Jit, render: &mut Render<'_>) -> Result<(), Failure> {
    let mut session = open(arguments)?;
    let name = session.name().to_owned();
    let place = session.place();
    let (loaded, _) = session.parts();
    if let Some(when) = arguments.ssa {
        return show_ssa(loaded, when, &place, render);
    }
    let archs = match arguments.arch.as_slice() {
        [] => vec![if cfg!(target_arch = "aarch64") { Arch::A64 } else { Arch::X64 }],
        given => given.to_vec(),
    };
    let options = CompileOptions { places: true, ..CompileOptions::default() };
    let mut codes = Vec::new();
    for (index, (arch, tier)) in archs
        .iter()
        .flat_map(|arch| arguments.tier.iter().map(move |tier| (*arch, *tier)))
        .enumerate()
    {
        let code = loaded
            .machine_code(target(arch), tier.0, &options)
            .map_err(|why| Failure::Load(format!("{place}: {}: {why}", arch.name())))?;
        let listing = Listing { loaded, code: &code, arch, syntax: arguments.syntax };
        if arguments.json {
            let bytes = code.bytes.len();
            let (arch, tier) = (arch.name(), tier.number());
            codes.push(Compiled { arch, tier, bytes, code: listing.items() });
            continue;
        }
        if index > 0 {
            render.line(format_args!(""))?;
        }
        let (insns, bytes) = (loaded.linked().program().insns().len(), code.bytes.len());
        render.heading(&format!(
            "{name}: {insns} instructions, {bytes} bytes of {}, tier {}",
            arch.name(),
            tier.number()
        ))?;
        listing.show(render)?;
    }
    if arguments.json {
        let object = arguments.target.file_name();
        render.json(&Document { object, program: name, codes })?;
    }
    Ok(())
}

/// Prints the optimising compiler's form of the program.
fn show_ssa(
    loaded: &Loaded,
    when: When,
    place: &str,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let passes = match when {
        When::Built => Passes::NONE,
        When::Optimised => Passes::ALL,
    };
    let forms = loaded.ssa(passes).map_err(|why| Failure::Load(format!("{place}: {why}")))?;
    for (index, (form, function)) in
        forms.iter().zip(loaded.linked().program().functions()).enumerate()
    {
        let name = function.name.as_deref().map_or(format!("function {index}"), str::to_owned);
        render.heading(&format!("{name}:"))?;
        render.line(format_args!("{form}"))?;
    }
    Ok(())
}

fn open(arguments: &Jit) -> Result<Box<Session>, Failure> {
    let types = arguments.type_name.as_deref().map(type_named).transpose()?;
    let verification = if arguments.unverified { Verification::Off } else { Verification::Linux };
    let target = &arguments.target;
    let opened = Session::open(&Wanted {
        target,
        types,
        verification,
        settings: &[],
        sizes: &[],
        maps: &[],
        btf: arguments.btf.as_deref(),
        profilers: None,
    })?;
    match opened {
        Opened::Ready(session) => Ok(session),
        Opened::Rejected(rejected) => Err(Failure::Load(format!(
            "{} is not compiled because it may be unsafe: `skep verify` says why; --unverified \
             compiles it all the same",
            rejected.program().name
        ))),
    }
}

/// This machine where it is such a one; else the least that any such machine can do.
fn target(arch: Arch) -> CompilerTarget {
    match (arch, CompilerTarget::host()) {
        (Arch::X64, Some(host @ CompilerTarget::X64(_)))
        | (Arch::A64, Some(host @ CompilerTarget::A64(_))) => host,
        (Arch::X64, _) => CompilerTarget::X64(x64::Features::default()),
        (Arch::A64, _) => CompilerTarget::A64(a64::Features::default()),
    }
}

/// Code and what it is shown beside.
struct Listing<'a> {
    loaded: &'a Loaded,
    code: &'a Code,
    arch: Arch,
    syntax: Syntax,
}

impl Listing<'_> {
    /// The pieces of code, each made for one instruction or for none.
    fn pieces(&self) -> impl Iterator<Item = (Option<Pc>, Vec<Line>)> {
        let places = &self.code.places;
        places.iter().enumerate().map(|(index, place)| {
            let end =
                places.get(index + 1).map_or(self.code.bytes.len(), |next| next.offset as usize);
            let insn = (place.insn != Place::NONE).then(|| Pc::from_index(place.insn as usize));
            let range = place.offset as usize..end;
            (insn, disassemble(&self.code.bytes, range, self.arch, self.syntax))
        })
    }

    fn source(&self, pc: Pc) -> Option<String> {
        let program = self.loaded.linked().program();
        let line = program.debug().line_at(program.slot(pc))?;
        Some(if line.text.is_empty() {
            format!("{}:{}", line.file, line.line)
        } else {
            line.text.to_string()
        })
    }

    fn show(&self, render: &mut Render<'_>) -> io::Result<()> {
        let program = self.loaded.linked().program();
        let (mut source_before, mut insn_before) = (None, None);
        for (insn, lines) in self.pieces().filter(|(_, lines)| !lines.is_empty()) {
            if insn_before != Some(insn) {
                match insn {
                    Some(pc) => {
                        let source = self.source(pc);
                        if let Some(text) = source.as_ref().filter(|_| source != source_before) {
                            render.line(format_args!(
                                "{}",
                                render.paint(FAINT, &format!("; {text}"))
                            ))?;
                        }
                        source_before = source;
                        let text =
                            format!("{:>6}: {}", program.slot(pc), Decimal(&program.offsets(pc)));
                        let text = render.paint(HEADING, &text);
                        render.line(format_args!("{text}"))?;
                    }
                    None => {
                        render.line(format_args!("        entries, exits and what they share"))?
                    }
                }
            }
            insn_before = Some(insn);
            for line in lines {
                let bytes = format!("{:<30}", self.bytes(&line));
                let bytes = render.paint(FAINT, &bytes);
                render.line(format_args!("{:>12x}: {bytes} {}", line.offset, line.text))?;
            }
        }
        Ok(())
    }

    fn bytes(&self, line: &Line) -> String {
        let bytes = self.code.bytes.get(line.offset..line.offset + line.len).unwrap_or(&[]);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }

    fn items(&self) -> Vec<Item> {
        let program = self.loaded.linked().program();
        let item = |insn: Option<Pc>, line: Line| Item {
            offset: line.offset,
            bytes: self.bytes(&line).replace(' ', ""),
            insn: insn.map(|pc| program.slot(pc).0),
            source: insn.and_then(|pc| self.source(pc)),
            text: line.text,
        };
        self.pieces()
            .flat_map(|(insn, lines)| lines.into_iter().map(move |line| item(insn, line)))
            .collect()
    }
}
