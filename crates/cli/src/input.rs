//! What arguments name: an object file, a program in it, bytes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

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
