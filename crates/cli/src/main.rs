//! The `skep` command: the process around [`skep_cli::run`].

#![forbid(unsafe_code)]

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use skep_cli::Streams;

fn main() -> ExitCode {
    let stdout = std::io::stdout();
    let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
    let terminal = std::io::IsTerminal::is_terminal(&stdout);
    // People see every line when it comes; programs and files get larger pieces.
    let mut out: Box<dyn Write> = match terminal {
        true => Box::new(stdout.lock()),
        false => Box::new(BufWriter::new(stdout.lock())),
    };
    let mut err = std::io::stderr();
    let code = skep_cli::run(
        std::env::args_os(),
        Streams {
            input: &mut std::io::stdin().lock(),
            out: &mut *out,
            err: &mut err,
            colour,
            terminal,
        },
    );
    // Whoever reads may have gone away; what he did not want is no error.
    match out.flush() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: standard output: {error}");
            ExitCode::from(3)
        }
        _ => ExitCode::from(code),
    }
}
