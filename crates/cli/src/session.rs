//! A program of an object, prepared with its options, run after run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::Loaded;
use skep::prepare::{
    GlobalBytes, MapSize, PrepareOptions, Prepared, PreparedProgram, ProgramFailure, Verification,
    prepare,
};
use skep::run::{Finished, Options, RunError};
use skep_bpf::platform::{AttachType, ProgType, types_named};
use skep_object::{KernelFunctions, LinkOptions, Linked, MapIndex, Object};

use crate::contents;
use crate::context::Input;
use crate::delivered::{self, Delivered};
use crate::failure::Failure;
use crate::input::{Target, read_file};
use crate::kernel::kernel_types;
use crate::profilers::Profilers;
use crate::value::Typed;

/// The most text that the lines of one run are kept of, in bytes.
const MAX_PRINTED: usize = 16 << 20;

/// A program ready to run, and what it runs in.
#[derive(Debug)]
pub struct Session {
    /// The object in its machine.
    pub prepared: Prepared,
    /// The program, by its place in the object's programs.
    program: usize,
    path: PathBuf,
    cpu: Cpu,
    printed: Arc<Mutex<Printed>>,
}

/// What came of preparing a program.
#[derive(Debug)]
pub enum Opened {
    /// It can run.
    Ready(Box<Session>),
    /// The verifier refuses it.
    Rejected(Box<Rejected>),
}

/// A program that the verifier refuses.
#[derive(Debug)]
pub struct Rejected {
    prepared: Prepared,
    program: usize,
}

impl Rejected {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &PreparedProgram {
        &self.prepared.programs[self.program]
    }
}

/// What a session is made of.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The object and the program.
    pub target: &'a Target,
    /// The program's types, in place of what its section says.
    pub types: Option<(ProgType, AttachType)>,
    /// Whether the program is verified.
    pub verification: Verification,
    /// Global variables to set.
    pub settings: &'a [Setting],
    /// Maps to make in another size than declared.
    pub sizes: &'a [Setting],
    /// Maps to fill, with the files to fill them from.
    pub maps: &'a [Setting],
    /// The file with the types of the kernel that the program is for.
    pub btf: Option<&'a Path>,
    /// Who is told of machine code.
    pub profilers: Option<&'a Arc<Profilers>>,
}

/// What programs printed since it was last asked for.
#[derive(Debug, Default)]
pub struct Printed {
    /// The lines.
    pub lines: Vec<String>,
    /// How many more there were than are kept.
    pub dropped: u64,
    bytes: usize,
}

/// What one run gave.
#[derive(Debug)]
pub struct Record {
    /// The result.
    pub result: Result<Finished, RunError>,
    /// The input as the program left it.
    pub input: Input,
    /// What it printed.
    pub printed: Printed,
    /// What it handed over to the host.
    pub delivered: Delivered,
    /// The mean time of a run.
    pub time: Duration,
}

/// A change of a global variable, from `--set VAR=VALUE`.
#[derive(Clone, Debug)]
pub struct Setting {
    name: String,
    value: String,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (name, value) = text.split_once('=').ok_or("needed is NAME=VALUE")?;
        Ok(Setting { name: name.to_owned(), value: value.to_owned() })
    }
}

/// A host whose `bpf_printk` collects lines, and which tells profilers of machine code.
#[must_use]
pub fn host(printed: &Arc<Mutex<Printed>>, profilers: Option<&Arc<Profilers>>) -> Host {
    let printed = Arc::clone(printed);
    let printk = move |text: &str| {
        // A thread that panicked while printing left whole lines behind.
        let mut printed = printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let line = text.strip_suffix('\n').unwrap_or(text);
        printed.bytes = printed.bytes.saturating_add(line.len() + size_of::<String>());
        match printed.bytes <= MAX_PRINTED {
            true => printed.lines.push(line.to_owned()),
            false => printed.dropped += 1,
        }
    };
    let code_made = profilers.map(Profilers::listener);
    Host { printk: Box::new(printk), code_made, ..Host::default() }
}

/// The program type that a name given with `--type` means.
///
/// # Errors
///
/// If it means none.
pub fn type_named(name: &str) -> Result<(ProgType, AttachType), Failure> {
    types_named(name).ok_or_else(|| {
        Failure::Usage(format!(
            "--type {name}: neither a program type nor a section name; try xdp, tc, socket, \
             kprobe or cgroup/connect4"
        ))
    })
}

impl Session {
    /// Where the program is, for messages: the file and the program's name.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}: {}", self.path.display(), self.name())
    }

    /// Prepares the one program that a target means.
    ///
    /// # Errors
    ///
    /// If the object cannot be read, there is not one such program, an option does not fit, or
    /// the program cannot be loaded.
    pub fn open(wanted: &Wanted<'_>) -> Result<Opened, Failure> {
        let target = wanted.target;
        let bytes = read_file(&target.path)?;
        let object = target.object()?;
        let function = target.program(&object)?.index;
        let (globals, map_sizes) = changes(&object, wanted.settings, wanted.sizes)?;
        let printed = Arc::new(Mutex::new(Printed::default()));
        let options = PrepareOptions {
            host: host(&printed, wanted.profilers),
            prog_type: wanted.types.map(|types| types.0),
            attach_type: wanted.types.map(|types| types.1),
            verification: wanted.verification,
            globals,
            map_sizes,
            kernel_types: Some(kernel_types(wanted.btf)?),
            link: LinkOptions {
                kernel_functions: KernelFunctions::ByName,
                ..LinkOptions::default()
            },
            ..PrepareOptions::default()
        };
        let file = target.path.display();
        let prepared = prepare(&bytes, &target.file_name(), options)
            .map_err(|error| Failure::Load(format!("{file}: {error}")))?;
        let program = prepared.programs.iter().position(|program| program.function == function);
        let program = program.ok_or_else(|| {
            let name = target.name.as_deref().unwrap_or("");
            Failure::Usage(format!("{file}: {name} is a function, not a program"))
        })?;
        match prepared.programs.get(program).map(|program| &program.result) {
            Some(Err(ProgramFailure::Rejected(_))) => {
                return Ok(Opened::Rejected(Box::new(Rejected { prepared, program })));
            }
            Some(Err(why @ ProgramFailure::NoType { .. })) => {
                return Err(Failure::Load(format!(
                    "{file}: {why}; give one with --type, or run it with --unverified"
                )));
            }
            _ => {}
        }
        let cpu = Cpu::new(&prepared.machine)
            .map_err(|error| Failure::Load(format!("{file}: {error}")))?;
        let session = Session { prepared, program, path: target.path.clone(), cpu, printed };
        if let Some(why) = session.program().and_then(|program| program.result.as_ref().err()) {
            return Err(Failure::Load(format!("{}: {why}", session.place())));
        }
        for map in wanted.maps {
            session.fill(map)?;
        }
        delivered::listen(&session.prepared);
        Ok(Opened::Ready(Box::new(session)))
    }

    fn program(&self) -> Option<&PreparedProgram> {
        self.prepared.programs.get(self.program)
    }

    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.program().map_or("", |program| &program.name)
    }

    /// The program's type.
    #[must_use]
    pub fn prog_type(&self) -> ProgType {
        self.program().map_or(ProgType::UNSPEC, |program| program.prog_type)
    }

    /// The program as it was linked, with its types.
    #[must_use]
    pub fn linked(&self) -> Option<(&Linked, (ProgType, AttachType))> {
        let program = self.program()?;
        Some((program.linked.as_ref()?, (program.prog_type, program.attach_type)))
    }

    /// The loaded program, and the processor that it runs on.
    pub fn parts(&mut self) -> (&Loaded, &mut Cpu) {
        let loaded = self.prepared.programs.get(self.program).and_then(|p| p.result.as_ref().ok());
        (loaded.expect("a session is made of a program that is loaded"), &mut self.cpu)
    }

    /// What programs printed since this was last asked.
    pub fn take_printed(&mut self) -> Printed {
        let mut printed = self.printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *printed)
    }

    /// Runs the program on an input, `repeat` times, each time on the input as it is given; the
    /// last run counts.
    pub fn run(&mut self, input: &Input, options: Options, repeat: u32) -> Record {
        let mut last = None;
        let mut total = Duration::ZERO;
        let runs = repeat.max(1);
        let mut done = 0;
        let (loaded, cpu) = self.parts();
        while done < runs {
            let mut input = input.clone();
            let start = Instant::now();
            let result = loaded.run(cpu, input.context(), options);
            total += start.elapsed();
            done += 1;
            let failed = result.is_err();
            last = Some((result, input));
            if failed {
                break;
            }
        }
        let (result, input) = last.expect("there is at least one run");
        let (printed, delivered) = (self.take_printed(), delivered::take(&self.prepared));
        Record { result, input, printed, delivered, time: total / done }
    }

    /// Fills a map from a JSON file, as `--map NAME=FILE` asks.
    fn fill(&self, setting: &Setting) -> Result<(), Failure> {
        let Setting { name, value: path } = setting;
        let found = self.prepared.object.map_named(name);
        let (_, def) = found.ok_or_else(|| {
            let names: Vec<&str> =
                self.prepared.object.maps().iter().map(|map| map.name.as_str()).collect();
            Failure::Usage(format!(
                "--map {name}: there is no such map; there are {}",
                names.join(", ")
            ))
        })?;
        let map = self.prepared.map(name).ok_or_else(|| {
            Failure::Load(format!("map {name} could not be made, so it cannot be filled"))
        })?;
        let bytes = read_file(Path::new(path))?;
        let entries: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Load(format!("{path}: {error}")))?;
        contents::write(&self.prepared, def, map.as_ref(), &entries)
            .map_err(|why| Failure::Load(format!("{path}: {why}")))
    }
}

/// What is to be changed of an object before it is loaded: global variables, sizes of maps.
///
/// # Errors
///
/// If there is no such variable or map, or a value does not fit.
pub fn changes(
    object: &Object,
    settings: &[Setting],
    sizes: &[Setting],
) -> Result<(Vec<GlobalBytes>, Vec<MapSize>), Failure> {
    let globals = settings.iter().map(|setting| global(object, setting));
    let sizes = sizes.iter().map(|size| map_size(object, size));
    let globals = globals.collect::<Result<_, _>>().map_err(Failure::Usage)?;
    Ok((globals, sizes.collect::<Result<_, _>>().map_err(Failure::Usage)?))
}

/// The bytes that a setting of a global variable means, and where they go.
fn global(object: &Object, setting: &Setting) -> Result<GlobalBytes, String> {
    let Setting { name, value } = setting;
    let mut found = Vec::new();
    let mut names = Vec::new();
    for (index, map) in object.maps().iter().enumerate().filter(|(_, map)| map.is_global_data()) {
        for variable in &map.variables {
            names.push(variable.name.as_str());
            if variable.name == *name {
                found.push((MapIndex(index), variable));
            }
        }
    }
    let (map, variable) = match found.as_slice() {
        [one] => *one,
        [] => {
            return Err(format!(
                "--set {name}: there is no such variable; there are {}",
                names.join(", ")
            ));
        }
        _ => return Err(format!("--set {name}: {} variables have that name", found.len())),
    };
    let fail = |why: String| format!("--set {name}: {why}");
    let offset = u32::try_from(variable.offset).map_err(|error| fail(error.to_string()))?;
    let len = usize::try_from(variable.size).map_err(|error| fail(error.to_string()))?;
    let typed = Typed::new(object.btf(), variable.var);
    let bytes = typed.bytes(&parse(value), len).map_err(fail)?;
    Ok(GlobalBytes { map, offset, bytes })
}

/// The size that a setting of a map means: `BYTES` of a value, `BYTES,ENTRIES` or `,ENTRIES`.
fn map_size(object: &Object, setting: &Setting) -> Result<MapSize, String> {
    let Setting { name, value } = setting;
    let (map, _) = object.map_named(name).ok_or_else(|| {
        let names: Vec<&str> = object.maps().iter().map(|map| map.name.as_str()).collect();
        format!("--resize {name}: there is no such map; there are {}", names.join(", "))
    })?;
    let (bytes, entries) = value.split_once(',').unwrap_or((value, ""));
    let number = |text: &str| match text {
        "" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| {
            format!("--resize {name}: needed is BYTES, BYTES,ENTRIES or ,ENTRIES, found {value:?}")
        }),
    };
    Ok(MapSize { map, value_bytes: number(bytes)?, max_entries: number(entries)? })
}

/// A value as a user writes it: a number (`0x` for hexadecimal), JSON, or plain text.
fn parse(text: &str) -> Value {
    let hexadecimal = text.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16));
    match hexadecimal {
        Some(Ok(number)) => Value::from(number),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
    }
}
