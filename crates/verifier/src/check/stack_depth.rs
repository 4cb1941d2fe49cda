//! The stack that chains of calls need together, after the walk found what each function needs.

use crate::check::callback::Callback;
use crate::explore::Walk;
use crate::rejection::{Check, Fault, Rule, fault};
use crate::state::MAX_FRAMES;
use crate::structure::Code;
use skep_bpf::insn::{Callee, Imm64, Insn};
use skep_bpf::platform::ProgType;
use std::collections::HashMap;

/// The stack of one kernel thread that programs may use, in bytes.
const MAX_STACK: u32 = 512;

/// What callers of a function that does tail calls may use.
const MAX_BEFORE_TAIL_CALL: u32 = 256;

/// Functions of probes with at least this much stack get one of their own.
const PRIVATE_STACK_MIN: u32 = 64;

/// Compiled functions keep the stack aligned.
const ALIGNMENT: u32 = 16;

struct Chain<'a> {
    code: &'a Code,
    bytes: &'a [u32],
    private: bool,
    callbacks: &'a [Option<Callback>],
    deepest: u32,
    /// Where an exception is thrown that must not be.
    thrown_at: Option<usize>,
    /// By function and number of frames: the most stack above it that was looked at.
    seen: HashMap<(usize, usize, bool), u32>,
}

impl Walk<'_> {
    /// The stack of the deepest chain of calls, in bytes; or what is wrong with one, and where if
    /// that is one instruction.
    pub(crate) fn check_stack_depth(&self) -> Result<u32, (Box<Fault>, Option<usize>)> {
        const PROBES: &[ProgType] = &[
            ProgType::KPROBE,
            ProgType::TRACEPOINT,
            ProgType::PERF_EVENT,
            ProgType::RAW_TRACEPOINT,
        ];
        let has_tail_call = self.code.functions.iter().any(|function| function.has_tail_call);
        let mut chain = Chain {
            code: &self.code,
            bytes: &self.stack_bytes,
            private: PROBES.contains(&self.input.prog_type) && !has_tail_call,
            callbacks: &self.callbacks,
            deepest: 0,
            thrown_at: None,
            seen: HashMap::new(),
        };
        for function in 0..self.code.functions.len() {
            if function == 0 || self.callbacks[function] == Some(Callback::Later) {
                chain.seen.clear();
                let entered = chain.enter(function, 0, 0, false);
                entered.map_err(|fault| (fault, chain.thrown_at))?;
            }
        }
        Ok(chain.deepest)
    }
}

impl Chain<'_> {
    /// A function called with `depth` bytes and `frame` functions above it, perhaps by one that is
    /// called back.
    fn enter(&mut self, function: usize, depth: u32, frame: usize, called_back: bool) -> Check {
        let called_back = called_back || self.callbacks[function].is_some();
        // With less stack above, nothing new can go wrong.
        let seen = self.seen.entry((function, frame, called_back)).or_insert(0);
        if *seen > depth {
            return Ok(());
        }
        *seen = depth + 1;
        let code = self.code;
        let facts = &code.functions[function];
        if function != 0 && facts.has_tail_call && depth >= MAX_BEFORE_TAIL_CALL {
            return fault(
                Rule::CallDepth,
                format!(
                    "tail_calls are not allowed when call stack of previous frames is {depth} bytes. Too large"
                ),
            );
        }
        let own = self.bytes[function].next_multiple_of(ALIGNMENT);
        let depth = if self.private && own >= PRIVATE_STACK_MIN {
            if own > MAX_STACK {
                return fault(
                    Rule::CallDepth,
                    format!("stack size of subprog {function} is {own}. Too large"),
                );
            }
            depth
        } else {
            depth + own
        };
        if depth > MAX_STACK {
            return fault(
                Rule::CallDepth,
                format!("combined stack size of {} calls is {depth}. Too large", frame + 1),
            );
        }
        self.deepest = self.deepest.max(depth.max(own));
        for at in facts.entry..facts.end {
            if called_back && code.is_throw(at) {
                self.thrown_at = Some(at);
                return fault(
                    Rule::Exception,
                    format!(
                        "bpf_throw kfunc (insn {at}) cannot be called from callback subprog {function}"
                    ),
                );
            }
            let (target, is_call) = match self.code.insn(at) {
                Some(Insn::Call { callee: Callee::Local(target) }) => (target, true),
                Some(Insn::LoadImm64 { imm: Imm64::Code(target), .. }) => (target, false),
                _ => continue,
            };
            let entry = self.code.target(at, target);
            let Some(callee) = entry.and_then(|entry| self.code.function_at(entry)) else {
                continue;
            };
            if self.callbacks[callee] == Some(Callback::Later) {
                if self.code.functions[callee].has_tail_call {
                    return fault(
                        Rule::CallDepth,
                        "verifier bug. subprog has tail_call and async cb",
                    );
                }
                // It has a stack of its own, unless it is called as well.
                if !is_call {
                    continue;
                }
            }
            if frame + 1 >= MAX_FRAMES {
                return fault(
                    Rule::CallDepth,
                    format!("the call stack of {} frames is too deep !", frame + 1),
                );
            }
            self.enter(callee, depth, frame + 1, called_back)?;
        }
        Ok(())
    }
}
