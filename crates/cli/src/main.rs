//! The `skep` command: the process around [`skep_cli::run`].

#![forbid(unsafe_code)]

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use skep_cli::Streams;

fn main() -> ExitCode {
    let stdout = std::io::stdout();
    let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
    let mut out = BufWriter::new(stdout.lock());
    let mut err = std::io::stderr();
    let code = skep_cli::run(
        std::env::args_os(),
        Streams {
            input: &mut std::io::stdin().lock(),
            out: &mut out,
            err: &mut err,
            colour,
            terminal: std::io::IsTerminal::is_terminal(&stdout),
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
