//! The same sources compiled for this machine, the bound that engines are compared to.

#![allow(unsafe_code, reason = "calls of compiled code")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use libloading::{Library, Symbol};
use skep_cli::measure::{Outcome, Subject};

use crate::kernel::{KERNELS, Kernel};

/// The compiled kernels, in one shared object.
pub(crate) struct Native {
    library: Rc<Library>,
    /// The compiler that was found.
    pub(crate) compiler: &'static str,
}

const COMPILERS: [&str; 3] = ["clang-19", "clang", "cc"];

/// The helper that kernels call, out of reach of inlining.
const HELPER_SOURCE: &str = "typedef unsigned long long u64;
u64 bench_helper(u64 a, u64 b, u64 c, u64 d, u64 e) { (void)a; (void)b; (void)c; (void)d; (void)e; return 0; }
";

impl Native {
    /// Compiles the kernels.
    pub(crate) fn build() -> Result<Native, String> {
        let runs = |compiler: &&str| {
            Command::new(compiler).arg("--version").output().is_ok_and(|out| out.status.success())
        };
        let compiler = COMPILERS.into_iter().find(runs);
        let compiler = compiler.ok_or_else(|| format!("found none of {}", COMPILERS.join(", ")))?;
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("native-kernels");
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let mut objects = Vec::new();
        for kernel in KERNELS {
            let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("kernels")
                .join(kernel.name)
                .with_extension("c");
            let symbol = format!("-Dprog=native_{}", kernel.name);
            objects.push(compile(compiler, &source, &directory, &symbol)?);
        }
        let helper = directory.join("helper_42.c");
        std::fs::write(&helper, HELPER_SOURCE).map_err(|error| error.to_string())?;
        objects.push(compile(compiler, &helper, &directory, "-DHELPER")?);
        // Loaders know libraries by their name, so each process has its own.
        let library = directory.join(format!("kernels-{}.so", std::process::id()));
        execute(Command::new(compiler).arg("-shared").arg("-o").arg(&library).args(&objects))?;
        // SAFETY: the library has no initialisers.
        let loaded = unsafe { Library::new(&library) };
        // What is loaded no longer needs its file; a leftover in the target directory is harmless.
        let _ = std::fs::remove_file(&library);
        Ok(Native { library: Rc::new(loaded.map_err(|error| error.to_string())?), compiler })
    }

    pub(crate) fn kernel(&self, kernel: &Kernel) -> Result<NativeKernel, String> {
        let name = format!("native_{}", kernel.name);
        // SAFETY: kernels have this signature (`kernels/common.h`).
        let symbol: Result<Symbol<'_, Prog>, _> = unsafe { self.library.get(name.as_bytes()) };
        let prog = *symbol.map_err(|error| error.to_string())?;
        let words = kernel.memory().chunks_exact(8).map(word).collect();
        Ok(NativeKernel { prog, words, _library: Rc::clone(&self.library) })
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn compile(compiler: &str, source: &Path, to: &Path, symbol: &str) -> Result<PathBuf, String> {
    let stem = source.file_stem().ok_or("a source without a name")?;
    let object = to.join(stem).with_extension("o");
    let mut command = Command::new(compiler);
    command.args(["-O2", "-fPIC", "-fno-stack-protector", "-DNATIVE", symbol, "-c"]);
    execute(command.arg(source).arg("-o").arg(&object))?;
    Ok(object)
}

fn execute(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

type Prog = unsafe extern "C" fn(*mut u64) -> u64;

/// A compiled kernel and its memory, which is aligned as the kernels' largest type.
pub(crate) struct NativeKernel {
    prog: Prog,
    words: Vec<u64>,
    _library: Rc<Library>,
}

impl Subject for NativeKernel {
    fn run(&mut self) -> Result<Outcome, String> {
        // SAFETY: the library is loaded, and kernels stay within the memory of this size.
        let r0 = unsafe { (self.prog)(self.words.as_mut_ptr()) };
        Ok(Outcome { r0, insns: None })
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        Ok(self.words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }
}
