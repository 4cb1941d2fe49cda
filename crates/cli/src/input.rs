//! What arguments name: an object file, a program in it, bytes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use skep_bpf::codec::{SLOT_BYTES, Slot};
use skep_object::{Function, Object};

use crate::failure::Failure;

/// `FILE.o` or `FILE.o:NAME`, where NAME is a function or a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// The function or section.
    pub name: Option<String>,
}

impl FromStr for Target {
    type Err = std::convert::Infallible;

    /// A colon separates file and name, unless a file with the whole name exists.
    fn from_str(text: &str) -> Result<Target, Self::Err> {
        let whole = Target { path: PathBuf::from(text), name: None };
        Ok(match text.rsplit_once(':') {
            Some((path, name)) if !path.is_empty() && !name.is_empty() && !whole.path.exists() => {
                Target { path: PathBuf::from(path), name: Some(name.to_owned()) }
            }
            _ => whole,
        })
    }
}

impl Target {
    /// Reads the object.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is no object.
    pub fn object(&self) -> Result<Object, Failure> {
        read_object(&self.path)
    }

    /// The file's name without directories.
    #[must_use]
    pub fn file_name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The functions that the name means; all programs if there is none.
    ///
    /// # Errors
    ///
    /// If there is none of that name, or no program at all.
    pub fn functions<'a>(&self, object: &'a Object) -> Result<Vec<&'a Function>, Failure> {
        let Some(name) = &self.name else {
            let programs: Vec<_> = object.programs().collect();
            if programs.is_empty() {
                return Err(Failure::Load(format!("{}: it has no program", self.path.display())));
            }
            return Ok(programs);
        };
        let found = object.functions_named(name);
        if found.is_empty() {
            return Err(Failure::Usage(format!(
                "{}: no function or section {name}; {}",
                self.path.display(),
                list(object)
            )));
        }
        Ok(found)
    }

    /// The one program that is meant.
    ///
    /// # Errors
    ///
    /// If there is none of the name, or several could be meant.
    pub fn program<'a>(&self, object: &'a Object) -> Result<&'a Function, Failure> {
        let found = self.functions(object)?;
        match found.as_slice() {
            [one] => Ok(one),
            _ => Err(Failure::Usage(format!(
                "{}: {} programs could be meant; name one as {}:NAME; {}",
                self.path.display(),
                found.len(),
                self.path.display(),
                list(object)
            ))),
        }
    }
}

/// The programs of an object, for an error message.
fn list(object: &Object) -> String {
    let programs: Vec<String> = object
        .programs()
        .map(|program| format!("{} ({})", program.name, program.section_name))
        .collect();
    match programs.is_empty() {
        true => "it has no programs".to_owned(),
        false => format!("its programs are {}", programs.join(", ")),
    }
}

/// Reads the object in a file.
///
/// # Errors
///
/// If the file cannot be read or is no object.
pub fn read_object(path: &Path) -> Result<Object, Failure> {
    let bytes = read_file(path)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Object::parse_named(&bytes, &name)
        .map_err(|error| Failure::Object { path: path.to_owned(), error })
}

/// Reads a file.
///
/// # Errors
///
/// If that is not possible.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file(path, error))
}

/// Reads a file, or standard input if the path is `-`.
///
/// # Errors
///
/// If that is not possible.
pub fn read_input(path: &Path, input: &mut dyn Read) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return read_file(path);
    }
    let mut bytes = Vec::new();
    let result = input.read_to_end(&mut bytes);
    result.map_err(|error| Failure::file(Path::new("standard input"), error))?;
    Ok(bytes)
}

/// Writes a file.
///
/// # Errors
///
/// If that is not possible.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| Failure::file(path, error))
}

/// The bytes that hexadecimal text means: pairs of digits, with or without spaces, commas and
/// `0x` between. None if the text is anything else, or empty.
#[must_use]
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c == ',' || c == ':') {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        if !digits.len().is_multiple_of(2) || (digits.is_empty() && !word.is_empty()) {
            return None;
        }
        for pair in digits.as_bytes().chunks_exact(2) {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let &[high, low] = pair else { return None };
            bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// The code in a file of raw bytes or hexadecimal text.
///
/// # Errors
///
/// If there is none, or not a whole number of slots.
pub fn read_code(bytes: &[u8], name: &str) -> Result<Vec<Slot>, Failure> {
    let from_text = std::str::from_utf8(bytes).ok().and_then(parse_hex);
    let code = from_text.as_deref().unwrap_or(bytes);
    match Slot::from_code(code) {
        Some(slots) if !slots.is_empty() => Ok(slots),
        Some(_) => Err(Failure::Load(format!("{name}: it has no code"))),
        None => Err(Failure::Load(format!(
            "{name}: {} bytes of code, but instructions have {SLOT_BYTES} or {}",
            code.len(),
            2 * SLOT_BYTES
        ))),
    }
}

/// Bytes given as an argument: hexadecimal text, or `@FILE` for raw bytes or hexadecimal text in
/// a file.
///
/// # Errors
///
/// If the file cannot be read, or the text is not hexadecimal.
pub fn argument_bytes(argument: &str, option: &str) -> Result<Vec<u8>, Failure> {
    if let Some(path) = argument.strip_prefix('@') {
        let bytes = read_file(Path::new(path))?;
        let from_text = std::str::from_utf8(&bytes).ok().and_then(parse_hex);
        return Ok(from_text.unwrap_or(bytes));
    }
    if argument.is_empty() {
        return Ok(Vec::new());
    }
    parse_hex(argument).ok_or_else(|| {
        Failure::Usage(format!(
            "{option} takes bytes as hexadecimal digits, two each, or @FILE; found {argument:?}"
        ))
    })
}
