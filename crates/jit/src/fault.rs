//! The fault handler: an access of generated code outside guest memory becomes a trap.
//!
//! It is installed once, when the first code is made, and acts only on faults of accesses that
//! the code's table lists, at addresses in the window or its guards; everything else goes to the
//! handler that was there before.

#![allow(unsafe_code, reason = "signals are the system's interface")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};

use crate::abi::{RunState, TrapCode};
use crate::code::Access;
use crate::exec;

/// The guards' size and the window's, in bytes.
const GUARD: u64 = 1 << 31;
const WINDOW: u64 = 1 << 32;

/// The handlers that were there before, by signal.
struct Before {
    segv: sigaction,
    bus: sigaction,
}

static BEFORE: OnceLock<Before> = OnceLock::new();
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Installs the handler unless it is.
///
/// # Errors
///
/// If the system refuses.
pub(crate) fn install() -> io::Result<()> {
    if INSTALLED.load(Ordering::Acquire) {
        return Ok(());
    }
    let mut failed = None;
    // The old handlers are known before a new one is in place.
    BEFORE.get_or_init(|| Before { segv: current(libc::SIGSEGV), bus: current(libc::SIGBUS) });
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let new = sigaction {
            sa_sigaction: handle as *const () as usize,
            sa_mask: empty_mask(),
            sa_flags: libc::SA_SIGINFO | libc::SA_ONSTACK,
            sa_restorer: None,
        };
        // SAFETY: a complete action and no room for the old one.
        if unsafe { sigaction(signal, &raw const new, ptr::null_mut()) } != 0 {
            failed = Some(io::Error::last_os_error());
        }
    }
    match failed {
        Some(error) => Err(error),
        None => {
            INSTALLED.store(true, Ordering::Release);
            Ok(())
        }
    }
}

fn empty_mask() -> libc::sigset_t {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a mask.
    unsafe { libc::sigemptyset(mask.as_mut_ptr()) };
    // SAFETY: a mask is plain bits, and all of them were set to 0.
    unsafe { mask.assume_init() }
}

fn current(signal: c_int) -> sigaction {
    let mut action = MaybeUninit::<sigaction>::zeroed();
    // SAFETY: asks only; room for the answer.
    unsafe { sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: an action of zeros is the default action, and the system may have filled it in.
    unsafe { action.assume_init() }
}

extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes the signal's information and the context that it interrupted.
    if unsafe { recover(info, context) } {
        return;
    }
    // SAFETY: as above.
    unsafe { pass_on(signal, info, context) };
}

/// Makes the fault a trap if it is one of generated code.
///
/// # Safety
///
/// Called with what the system passed to the handler.
unsafe fn recover(info: *mut siginfo_t, context: *mut c_void) -> bool {
    // SAFETY: the caller's.
    let machine = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext };
    let place = Registers::place(machine);
    let Some(found) = exec::find(place) else { return false };
    // SAFETY: the caller's.
    let info = unsafe { &*info };
    // SAFETY: both signals come with an address.
    let addr = unsafe { info.si_addr() } as u64;
    // SAFETY: generated code is under way, making an access.
    let state = unsafe { Registers::state(machine) };
    // SAFETY: the state of the run that this thread is in.
    let state = unsafe { &mut *state };
    if addr.wrapping_sub(state.window.wrapping_sub(GUARD)) >= WINDOW + 2 * GUARD {
        return false;
    }
    let Access { insn, disp, reg, len, write, host, .. } = found.access;
    state.trap.code = TrapCode::Memory as u32;
    state.trap.insn = insn;
    state.trap.place = place;
    let base = if reg == Access::NO_REGISTER { 0 } else { Registers::number(machine, reg) };
    let guest = base.wrapping_sub(if host == 0 { 0 } else { state.window });
    state.trap.addr = (guest as u32).wrapping_add(disp as u32);
    state.trap.len = len.into();
    state.trap.write = write.into();
    Registers::go_on(machine, found.exit);
    true
}

/// Does what would be done without this handler.
///
/// # Safety
///
/// Called with what the system passed to the handler.
unsafe fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = BEFORE.get().map(|before| match signal {
        libc::SIGBUS => &before.bus,
        _ => &before.segv,
    });
    match before {
        Some(action) if action.sa_sigaction == libc::SIG_IGN => {}
        Some(action) if action.sa_sigaction != libc::SIG_DFL => {
            if action.sa_flags & libc::SA_SIGINFO != 0 {
                type Full = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
                // SAFETY: with this flag the action is a function of this type.
                let function: Full = unsafe { std::mem::transmute(action.sa_sigaction) };
                function(signal, info, context);
            } else {
                type Short = extern "C" fn(c_int);
                // SAFETY: without the flag it is one of this type.
                let function: Short = unsafe { std::mem::transmute(action.sa_sigaction) };
                function(signal);
            }
        }
        _ => {
            // The access is repeated after this returns, and the system does what it does.
            // SAFETY: restores the default action.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// The interrupted thread's registers.
struct Registers;

#[cfg(target_arch = "x86_64")]
impl Registers {
    fn place(machine: &libc::mcontext_t) -> u64 {
        machine.gregs[libc::REG_RIP as usize] as u64
    }

    /// The state of the run: in the lowest word of every native frame.
    ///
    /// # Safety
    ///
    /// The thread was interrupted in generated code, at an access.
    unsafe fn state(machine: &libc::mcontext_t) -> *mut RunState {
        let stack = machine.gregs[libc::REG_RSP as usize] as *const *mut RunState;
        // SAFETY: the caller's.
        unsafe { *stack }
    }

    /// A register by its number in encodings.
    fn number(machine: &libc::mcontext_t, reg: u8) -> u64 {
        const BY_NUMBER: [c_int; 16] = [
            libc::REG_RAX,
            libc::REG_RCX,
            libc::REG_RDX,
            libc::REG_RBX,
            libc::REG_RSP,
            libc::REG_RBP,
            libc::REG_RSI,
            libc::REG_RDI,
            libc::REG_R8,
            libc::REG_R9,
            libc::REG_R10,
            libc::REG_R11,
            libc::REG_R12,
            libc::REG_R13,
            libc::REG_R14,
            libc::REG_R15,
        ];
        machine.gregs[BY_NUMBER[usize::from(reg & 15)] as usize] as u64
    }

    fn go_on(machine: &mut libc::mcontext_t, place: u64) {
        machine.gregs[libc::REG_RIP as usize] = place as i64;
    }
}

#[cfg(target_arch = "aarch64")]
impl Registers {
    fn place(machine: &libc::mcontext_t) -> u64 {
        machine.pc
    }

    /// The state of the run: in a register of its own ([`crate::a64::regs::STATE`]).
    ///
    /// # Safety
    ///
    /// The thread was interrupted in generated code, at an access.
    unsafe fn state(machine: &libc::mcontext_t) -> *mut RunState {
        Self::number(machine, crate::a64::regs::STATE.number()) as *mut RunState
    }

    /// A register by its number in encodings.
    fn number(machine: &libc::mcontext_t, reg: u8) -> u64 {
        machine.regs.get(usize::from(reg)).copied().unwrap_or(0)
    }

    fn go_on(machine: &mut libc::mcontext_t, place: u64) {
        machine.pc = place;
    }
}
