//! Runs of a loaded program on data from here (`BPF_PROG_TEST_RUN`).

use crate::attr;
use crate::error::Call;
use crate::map::refused;
use crate::uapi::{prog_type, test_run_flag};
use crate::{Error, Program, sys};

/// What a program is run on. Start from [`TestRun::default`].
///
/// The kernel's rules differ by type: packets have at least 14 bytes; programs for raw
/// tracepoints and system calls take a context but no data, no output and no repetition.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestRun<'a> {
    /// The packet.
    pub data_in: &'a [u8],
    /// The context, as far as user space may set it; empty for the kernel's defaults.
    pub ctx_in: &'a [u8],
    /// How often to run; 0 is once. Every run after the first sees what the one before left.
    pub repeat: u32,
    /// Room for the packet as the program leaves it, in bytes; `None` for 4 KiB more than went
    /// in, or nothing if nothing went in. If it is too small the run fails with `ENOSPC`, after
    /// it has taken place.
    pub data_size_out: Option<u32>,
    /// Room for the context as the program leaves it, in bytes; 0 for none.
    pub ctx_size_out: u32,
    /// Flags, as in [`uapi::test_run_flag`](crate::uapi::test_run_flag).
    pub flags: u32,
    /// The CPU to run on, with [`RUN_ON_CPU`](test_run_flag::RUN_ON_CPU); else 0.
    pub cpu: u32,
}

/// What a run left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestRunResult {
    /// The low 32 bits of r0, after the last run.
    pub retval: u32,
    /// The packet; empty if no room was made for it.
    pub data_out: Vec<u8>,
    /// Bytes of the packet, also if no room was made for it.
    pub data_len: u32,
    /// The context; empty if no room was made for it. For system call programs, which have it
    /// written back in place, always the context.
    pub ctx_out: Vec<u8>,
    /// The average time of one run, in nanoseconds; 0 for types that do not measure.
    pub duration_ns: u32,
}

impl Program {
    /// Runs the program (`BPF_PROG_TEST_RUN`).
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is `ENOTSUPP` for types that cannot be run so;
    /// [`Error::LiveFrames`] for the mode that sends packets.
    pub fn test_run(&self, run: &TestRun<'_>) -> Result<TestRunResult, Error> {
        if run.flags & test_run_flag::XDP_LIVE_FRAMES != 0 {
            return Err(Error::LiveFrames);
        }
        let data_size = u32::try_from(run.data_in.len())
            .map_err(|_| Error::TooLong { len: run.data_in.len() })?;
        u32::try_from(run.ctx_in.len()).map_err(|_| Error::TooLong { len: run.ctx_in.len() })?;
        let room = match (run.data_size_out, data_size) {
            (Some(room), _) => room,
            (None, 0) => 0,
            (None, size) => size.saturating_add(4096),
        };

        let mut data_out = vec![0; room as usize];
        let mut ctx_in = run.ctx_in.to_vec();
        let mut ctx_out = vec![0; run.ctx_size_out as usize];
        let mut attr = attr::TestRun {
            prog_fd: self.fd(),
            repeat: run.repeat,
            flags: run.flags,
            cpu: run.cpu,
            ..attr::TestRun::default()
        };
        sys::test_run(&mut attr, run.data_in, &mut data_out, &mut ctx_in, &mut ctx_out)
            .map_err(refused(Call::TestRun))?;

        data_out.truncate(attr.data_size_out as usize);
        ctx_out.truncate(attr.ctx_size_out as usize);
        Ok(TestRunResult {
            retval: attr.retval,
            data_out,
            data_len: attr.data_size_out,
            ctx_out: if self.prog_type == prog_type::SYSCALL { ctx_in } else { ctx_out },
            duration_ns: attr.duration,
        })
    }
}
