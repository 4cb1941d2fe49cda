//! The conformance corpus: `conformance/*.bpf`, read into cases.
//!
//! The format is described in `conformance/README.md`. A file that does not follow it is an error
//! with file and line: a case that is silently dropped would be a test that cannot fail.

use std::fmt::{self, Display, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use skep_bpf::program::Program;
use skep_bpf::text::parse::assemble;

/// One program, what it runs on and what must come of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name, unique in the corpus; a row's operands are part of it.
    pub name: String,
    /// Where the case stands.
    pub place: Place,
    /// The program, in either dialect of the assembler.
    pub asm: String,
    /// What `r1` leads to.
    pub input: Input,
    /// The maps that the program names by index.
    pub maps: Vec<MapDeclaration>,
    /// The most instructions, if not [`DEFAULT_FUEL`].
    pub fuel: u64,
    /// What must come of it.
    pub expect: Expect,
    /// The memory after a run that ends.
    pub memory_after: Vec<u8>,
    /// What the kernel must say of it.
    pub kernel: KernelSays,
}

/// Enough for every case that does not say otherwise.
pub const DEFAULT_FUEL: u64 = 1_000_000;

/// A file and a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, relative to the corpus.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a program is run on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// `r1` is the address of these bytes and `r2` their number; both 0 if there are none.
    Memory(Vec<u8>),
    /// `r1` is a socket buffer's context.
    Packet(Vec<u8>),
}

/// A map: `array KEY VALUE ENTRIES [rdonly]`, all values zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapDeclaration {
    /// The number of the map's type in Linux.
    pub map_type: u32,
    /// The size of a key in bytes.
    pub key_bytes: u32,
    /// The size of a value in bytes.
    pub value_bytes: u32,
    /// The number of elements.
    pub max_entries: u32,
    /// Whether programs may only read it.
    pub read_only: bool,
}

/// What must come of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    /// The value of `r0` at the exit.
    Result(u64),
    /// A trap of a kind at a slot.
    Trap {
        /// One of [`crate::engines::TRAPS`].
        kind: String,
        /// The instruction's first slot.
        slot: usize,
        /// Whether only engines that know objects, not just pages, must see it.
        regions_only: bool,
    },
}

/// What the kernel must say of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelSays {
    /// It runs the program and the outcome is the same.
    Same,
    /// It refuses the program, with this text in its log; the expectation rests on RFC 9669.
    Refuses(String),
}

/// What is wrong with the corpus.
#[derive(Clone, Debug)]
pub struct CorpusError {
    place: Place,
    what: String,
}

impl Display for CorpusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Case {
    /// The program, assembled.
    ///
    /// # Errors
    ///
    /// What the assembler says, or what keeps the code from being a program.
    pub fn program(&self) -> Result<Program, CorpusError> {
        let text = expand(&self.asm).map_err(|what| self.error(what))?;
        let assembly = assemble(&text).map_err(|error| self.error(error.to_string()))?;
        let bytecode = assembly.bytecode(&self.place.file);
        Program::new(&bytecode).map_err(|error| self.error(error.to_string()))
    }

    /// The bytes at `r1` before the run.
    #[must_use]
    pub fn memory(&self) -> &[u8] {
        match &self.input {
            Input::Memory(bytes) => bytes,
            Input::Packet(_) => &[],
        }
    }

    fn error(&self, what: String) -> CorpusError {
        CorpusError { place: self.place.clone(), what: format!("{}: {what}", self.name) }
    }
}

/// Writes out `repeat 3 { add %r0, 1 }`.
fn expand(asm: &str) -> Result<String, String> {
    let mut text = String::new();
    for line in asm.lines() {
        let Some(rest) = line.trim().strip_prefix("repeat ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let parts = rest.split_once('{').and_then(|(n, body)| Some((n, body.strip_suffix('}')?)));
        let (count, body) = parts.ok_or_else(|| format!("no `repeat N {{ INSN }}`: {line}"))?;
        let count: usize = count.trim().parse().map_err(|_| format!("no count: {line}"))?;
        for _ in 0..count {
            text.push_str(body);
            text.push('\n');
        }
    }
    Ok(text)
}

/// All cases, in the order of the files' names.
///
/// # Errors
///
/// The first thing that is not as the format says.
pub fn load() -> Result<Vec<Case>, CorpusError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let unreadable = |path: &Path, error: &dyn Display| CorpusError {
        place: Place { file: path.display().to_string(), line: 0 },
        what: error.to_string(),
    };
    let entries = fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()
        .map_err(|error| unreadable(&folder, &error))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "bpf"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        cases.extend(parse(&file, &text)?);
    }
    Ok(cases)
}

/// The cases of one file.
///
/// # Errors
///
/// The first thing that is not as the format says.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, CorpusError> {
    let mut cases = Vec::new();
    let mut draft: Option<Draft> = None;
    for (index, line) in text.lines().enumerate() {
        let place = Place { file: file.to_owned(), line: index + 1 };
        let error = |what: String| CorpusError { place: place.clone(), what };
        if let Some(name) = line.strip_prefix("== ") {
            if let Some(done) = draft.replace(Draft::new(name.trim(), place.clone())) {
                done.finish(&mut cases)?;
            }
        } else if line.starts_with('#') {
        } else if let Some(draft) = &mut draft {
            draft.line(line, index + 1).map_err(error)?;
        } else if !line.trim().is_empty() {
            return Err(error("text before the first case".to_owned()));
        }
    }
    if let Some(done) = draft {
        done.finish(&mut cases)?;
    }
    Ok(cases)
}

/// Which section the lines that follow belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Asm,
    Rows,
}

/// A row of operands and outcomes.
struct Row {
    text: String,
    line: usize,
    values: Vec<u64>,
}

/// A case as far as it was read.
struct Draft {
    case: Case,
    section: Section,
    memory_after: Option<Vec<u8>>,
    expected: bool,
    columns: Option<Columns>,
    rows: Vec<Row>,
}

/// The names of a table's columns.
struct Columns {
    operands: Vec<String>,
    outcomes: usize,
}

impl Draft {
    fn new(name: &str, place: Place) -> Draft {
        let case = Case {
            name: name.to_owned(),
            place,
            asm: String::new(),
            input: Input::Memory(Vec::new()),
            maps: Vec::new(),
            fuel: DEFAULT_FUEL,
            expect: Expect::Result(0),
            memory_after: Vec::new(),
            kernel: KernelSays::Same,
        };
        Draft {
            case,
            section: Section::None,
            memory_after: None,
            expected: false,
            columns: None,
            rows: Vec::new(),
        }
    }

    fn line(&mut self, line: &str, number: usize) -> Result<(), String> {
        if let Some(heading) = line.strip_prefix("-- ") {
            self.section = Section::None;
            return self.heading(heading.trim());
        }
        match self.section {
            Section::Asm => {
                self.case.asm.push_str(line);
                self.case.asm.push('\n');
                Ok(())
            }
            _ if line.trim().is_empty() => Ok(()),
            Section::Rows => self.row(line.trim(), number),
            Section::None => Err(format!("belongs to no section: {line}")),
        }
    }

    fn heading(&mut self, heading: &str) -> Result<(), String> {
        let (word, rest) = heading.split_once(' ').unwrap_or((heading, ""));
        let rest = rest.trim();
        match word {
            "asm" => self.section = Section::Asm,
            "mem" => match rest.strip_prefix("out ") {
                Some(bytes) => self.memory_after = Some(hex(bytes)?),
                None => self.case.input = Input::Memory(hex(rest)?),
            },
            "packet" => self.case.input = Input::Packet(hex(rest)?),
            "map" => self.case.maps.push(map(rest)?),
            "fuel" => self.case.fuel = number(rest)?,
            "result" => self.expect(Expect::Result(number(rest)?))?,
            "trap" => self.expect(trap(rest)?)?,
            "kernel" => {
                let reason = rest.strip_prefix("refuses ").ok_or("what does the kernel do?")?;
                self.case.kernel = KernelSays::Refuses(reason.to_owned());
            }
            "rows" => {
                let (operands, outcomes) =
                    rest.split_once("=>").ok_or("a table has operands => outcomes")?;
                self.columns = Some(Columns {
                    operands: operands.split_whitespace().map(str::to_owned).collect(),
                    outcomes: outcomes.split_whitespace().count(),
                });
                self.section = Section::Rows;
            }
            _ => return Err(format!("no such section: {word}")),
        }
        Ok(())
    }

    fn expect(&mut self, expect: Expect) -> Result<(), String> {
        if self.expected {
            return Err("a case has one outcome".to_owned());
        }
        self.expected = true;
        self.case.expect = expect;
        Ok(())
    }

    fn row(&mut self, line: &str, at: usize) -> Result<(), String> {
        let values = line
            .split_whitespace()
            .filter(|word| *word != "=>")
            .map(number)
            .collect::<Result<_, _>>()?;
        self.rows.push(Row { text: line.to_owned(), line: at, values });
        Ok(())
    }

    /// Adds the case, or one for each row.
    fn finish(self, cases: &mut Vec<Case>) -> Result<(), CorpusError> {
        let error =
            |what: &str| CorpusError { place: self.case.place.clone(), what: what.to_owned() };
        let Some(columns) = &self.columns else {
            if !self.expected {
                return Err(error("the case has no outcome"));
            }
            let mut case = self.case;
            case.memory_after = self.memory_after.unwrap_or_else(|| case.memory().to_vec());
            cases.push(case);
            return Ok(());
        };
        if self.expected || self.memory_after.is_some() || !self.case.memory().is_empty() {
            return Err(error("a table has operands and outcomes of its own"));
        }
        if self.rows.is_empty() || columns.outcomes == 0 {
            return Err(error("the table has no rows or no outcome"));
        }
        for row in &self.rows {
            cases.push(self.case_of(columns, row)?);
        }
        Ok(())
    }

    /// The case of a row: operands in memory, and in the program's text where it says `$name`.
    fn case_of(&self, columns: &Columns, row: &Row) -> Result<Case, CorpusError> {
        let place = Place { file: self.case.place.file.clone(), line: row.line };
        let count = columns.operands.len() + columns.outcomes;
        if row.values.len() != count {
            let what = format!("{} numbers, but {count} columns", row.values.len());
            return Err(CorpusError { place, what });
        }
        let (operands, outcomes) = row.values.split_at(columns.operands.len());
        let mut case = self.case.clone();
        write!(case.name, " ({})", row.text).expect("a string takes any text");
        case.place = place;
        for (name, value) in columns.operands.iter().zip(operands) {
            case.asm = case.asm.replace(&format!("${name}"), &(*value as i64).to_string());
        }
        let bytes = |words: &[u64]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        case.expect = Expect::Result(outcomes[0]);
        case.memory_after = bytes(operands);
        let changed = bytes(&outcomes[1..]);
        let Some(start) = case.memory_after.get_mut(..changed.len()) else {
            let what = "more memory afterwards than before".to_owned();
            return Err(CorpusError { place: case.place, what });
        };
        start.copy_from_slice(&changed);
        case.input = Input::Memory(bytes(operands));
        Ok(case)
    }
}

/// A 64-bit number: hexadecimal, or decimal with a sign.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().or_else(|| text.parse::<i64>().ok().map(|n| n as u64)),
    };
    parsed.ok_or_else(|| format!("no 64-bit number: {text:?}"))
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let byte = |word| u8::from_str_radix(word, 16).map_err(|_| format!("no byte: {word:?}"));
    text.split_whitespace().map(byte).collect()
}

fn map(text: &str) -> Result<MapDeclaration, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (["array", key, value, entries] | ["array", key, value, entries, "rdonly"]) = words[..]
    else {
        return Err(format!("no `array KEY VALUE ENTRIES [rdonly]`: {text}"));
    };
    let size = |word| number(word).and_then(|n| u32::try_from(n).map_err(|e| e.to_string()));
    Ok(MapDeclaration {
        map_type: skep_kernel::uapi::map_type::ARRAY,
        key_bytes: size(key)?,
        value_bytes: size(value)?,
        max_entries: size(entries)?,
        read_only: words.len() == 5,
    })
}

/// `KIND at SLOT`, perhaps with `where objects are known`.
fn trap(text: &str) -> Result<Expect, String> {
    let all = text.strip_suffix(" where objects are known");
    let (kind, slot) = all.unwrap_or(text).split_once(" at ").ok_or("a trap has a slot")?;
    if !crate::engines::TRAPS.contains(&kind) {
        return Err(format!("no such trap: {kind}"));
    }
    let slot = slot.trim().parse().map_err(|_| format!("no slot: {slot}"))?;
    Ok(Expect::Trap { kind: kind.to_owned(), slot, regions_only: all.is_some() })
}
