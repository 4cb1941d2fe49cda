//! What to do about a fault: C text to write, with the names of the program where lines tell them.

use super::place::{Places, assigned};
use crate::history::{Base, Called, Focus, Related, RelatedKind};
use crate::input::Input;
use crate::rejection::{Rejection, Rule};
use skep_bpf::platform::{HelperId, OPTIONAL_HELPERS, ProgType, helper_allowed};

/// What to do, the best advice first.
pub(crate) fn help(rejection: &Rejection, input: &Input<'_>, places: &Places<'_>) -> Vec<String> {
    let advice = Advice { rejection, input, places };
    advice.give().into_iter().collect()
}

struct Advice<'a> {
    rejection: &'a Rejection,
    input: &'a Input<'a>,
    places: &'a Places<'a>,
}

impl Advice<'_> {
    fn give(&self) -> Option<String> {
        let message = self.rejection.message.as_str();
        let focus = self.rejection.focus.as_ref();
        Some(match self.rejection.rule {
            Rule::MaybeNull => self.null_check(),
            Rule::HelperArgument if focus.is_some_and(|focus| focus.value.may_be_null) => {
                self.null_check()
            }
            Rule::PacketBounds => self.packet_check(focus?)?,
            Rule::MemoryBounds => self.index_check(focus?)?,
            Rule::Unbounded if message.starts_with("math between") => format!(
                "give the number bounds before it is added to the pointer, a lower one as well if it is signed: {}",
                self.limit(64)
            ),
            Rule::Unbounded => format!("limit it before, here to what 64 bytes have room for: {}", self.limit(64)),
            Rule::HelperArgument if message == "Invalid format string" => {
                "use d, i, u, x and X, with l or ll before them, s, c and p, and pass 8 bytes for each".to_owned()
            }
            Rule::HelperArgument => self.argument(focus, message)?,
            Rule::Uninitialised => self.initialise(focus?),
            Rule::NotAPointer => self.not_a_pointer(focus?)?,
            Rule::Reference => self.release(),
            Rule::Lock => self.lock(message),
            Rule::ReturnValue if message.starts_with("At callback return") => {
                "return 0 to be called again, or 1 to stop".to_owned()
            }
            Rule::ReturnValue if message.starts_with("At async callback return") => {
                "return 0: no other value means anything yet".to_owned()
            }
            Rule::ReturnValue => {
                let (_, range) = message.rsplit_once(" in ")?;
                format!("return a number that is certainly in {range}")
            }
            Rule::HelperNotAllowed if message.contains("GPL") => {
                "say so if the program is under such a licence: `char LICENSE[] SEC(\"license\") = \"GPL\";`"
                    .to_owned()
            }
            Rule::HelperNotAllowed if message.contains("sleep") => {
                "make the program sleepable, if its type allows that, as in `SEC(\"fentry.s/...\")`; or use a helper that does not wait".to_owned()
            }
            Rule::HelperNotAllowed if self.lacks_optional_helper() => {
                "do without it: only kernels that are built and booted for it have this helper".to_owned()
            }
            Rule::HelperNotAllowed => {
                format!("`skep explain {}` lists the program types that have it", self.helper()?)
            }
            Rule::Arithmetic if message.starts_with("div") => {
                "divide by something that is not zero".to_owned()
            }
            Rule::Arithmetic => "shift by 0 to 63, or by 0 to 31 in 32-bit arithmetic".to_owned(),
            Rule::Alignment => {
                "order the fields so that each begins at a multiple of its size, or declare the memory with `__attribute__((aligned(8)))`".to_owned()
            }
            Rule::Permission if message.contains("directly") => {
                "leave the field alone: write the other fields one by one instead of the whole value".to_owned()
            }
            Rule::Permission if focus.is_some_and(|focus| focus.value.base.is_packet()) => {
                "programs of this type change packets with helpers, if at all, such as `bpf_skb_store_bytes`".to_owned()
            }
            Rule::Permission if focus.is_some_and(|focus| matches!(focus.value.base, Base::Map(_))) => {
                "the address of a map stands for the map as a whole; `bpf_map_lookup_elem` returns the address of a value".to_owned()
            }
            Rule::Permission => "keep what changes in memory that can be written: a variable that is not `const`, a map, or the stack".to_owned(),
            Rule::InfiniteLoop => {
                "let every round come closer to an end that the verifier sees: `for (i = 0; i < 64; i++)`".to_owned()
            }
            Rule::Budget if message.starts_with("The sequence") => {
                "compute without branching in the loop, make fewer rounds, or use `bpf_loop`, whose body is walked once for all rounds".to_owned()
            }
            Rule::Budget => {
                "make fewer rounds, or use `bpf_loop`, whose body is walked once for all rounds".to_owned()
            }
            Rule::Exception => {
                "return 1 to end the loop, and look at what the function found after it".to_owned()
            }
            Rule::CallDepth if message.contains("frames") => {
                "functions cannot call themselves, and at most 8 may be active: use a loop instead".to_owned()
            }
            Rule::CallDepth => {
                "the functions of a chain of calls share 512 bytes: move large variables into a map, a per-CPU array for instance".to_owned()
            }
            Rule::Stack => self.stack(focus?),
            Rule::Context => self.context(focus?),
            Rule::PointerArithmetic => self.pointer_arithmetic(message),
            Rule::Atomic => {
                "load, change and store the field with ordinary instructions, or keep the counter in a map".to_owned()
            }
            Rule::MixedPointers => {
                "access the two on separate paths: `if (...) x = ctx->field; else x = *pointer;`, with something between that keeps the compiler from joining them, such as `barrier_var(pointer);`".to_owned()
            }
            Rule::Unreachable => "remove the instructions".to_owned(),
            Rule::Map => {
                let name = self.helper().map_or("the helper".to_owned(), |id| format!("`{id}`"));
                format!("declare the map with the type that {name} is for")
            }
            Rule::Dynptr if message.starts_with("cannot overwrite") => {
                "submit or discard the record first, and then use the variable again; no other bytes of it are yours".to_owned()
            }
            Rule::Dynptr if message.contains("uninitialized") => {
                "pass the address of a variable `struct bpf_dynptr` of its own, unmoved".to_owned()
            }
            Rule::Dynptr if message.starts_with("potential write") => {
                "pass a variable to fill that is not the dynamic pointer itself".to_owned()
            }
            Rule::Dynptr => {
                "make it first, on every path that leads here: `bpf_dynptr_from_mem(memory, size, 0, &pointer);`".to_owned()
            }
            Rule::Object if message.contains("referenced") || message.contains("expected pointer to") => {
                "use an object that the program owns: one from `bpf_obj_new`, or one taken out of a list or tree".to_owned()
            }
            Rule::Object if message.contains("rbtree cb") => {
                "compare the two nodes only, and return which is less".to_owned()
            }
            Rule::FramePointer => "copy R10 to another register, and change that".to_owned(),
            Rule::Structure
            | Rule::PacketLoad
            | Rule::PointerComparison
            | Rule::Object
            | Rule::Unsupported => return None,
        })
    }

    /// How the program leaves early, in C.
    fn leave(&self) -> &'static str {
        match self.input.prog_type {
            ProgType::XDP => "return XDP_PASS;",
            ProgType::SCHED_CLS | ProgType::SCHED_ACT => "return TC_ACT_OK;",
            ProgType::SK_SKB | ProgType::SK_MSG | ProgType::SK_LOOKUP => "return SK_PASS;",
            _ => "return 0;",
        }
    }

    fn helper(&self) -> Option<HelperId> {
        use skep_bpf::insn::{Callee, Insn};
        let insn = skep_bpf::codec::decode(&self.input.bytecode.slots, self.rejection.at?).ok()?;
        match insn {
            Insn::Call { callee: Callee::Helper(id) } => Some(id),
            _ => None,
        }
    }

    /// Whether the program could call the helper if the kernel had it.
    fn lacks_optional_helper(&self) -> bool {
        let Input { prog_type, attach_type, .. } = *self.input;
        self.helper().is_some_and(|id| {
            OPTIONAL_HELPERS.contains(&id) && helper_allowed(prog_type, attach_type, id)
        })
    }

    fn related(&self, wanted: impl Fn(&RelatedKind) -> bool) -> Option<&Related> {
        self.rejection.related.iter().rev().find(|related| wanted(&related.what))
    }

    /// The variable that a line gives a value, by the line's text.
    fn variable(&self, related: Option<&Related>) -> Option<String> {
        assigned(self.places.line_text(related?.at)?)
    }

    fn null_check(&self) -> String {
        let origin = self.related(|what| match what {
            RelatedKind::Returned { value, .. } | RelatedKind::Loaded { value, .. } => {
                value.may_be_null
            }
            _ => false,
        });
        let name = self.variable(origin).or_else(|| self.dereferenced());
        let name = name.unwrap_or_else(|| "pointer".to_owned());
        format!("ask before using it: `if (!{name}) {}`", self.leave())
    }

    /// The pointer whose member is accessed where the fault is.
    fn dereferenced(&self) -> Option<String> {
        let source = self.places.place(self.rejection.at?).source?;
        let before = source.text.get(..(source.column as usize).checked_sub(1)?)?;
        let object = object_of(before.strip_suffix("->")?);
        (!object.is_empty()).then(|| object.to_owned())
    }

    fn packet_check(&self, focus: &Focus) -> Option<String> {
        let size = focus.size?;
        let end = focus.value.offset.checked_add(focus.offset)?.checked_add(size)?;
        let data_end = self.places.variable_given("data_end").unwrap_or("data_end".to_owned());
        if focus.value.constant().is_none() && super::wording::is_too_wide(&focus.value) {
            return Some(format!(
                "limit the offset before it is added, so that the sum stays below 65536: {}",
                self.limit(1500)
            ));
        }
        if focus.value.constant().is_none() {
            return Some(format!(
                "compare after the variable offset was added, with a pointer that is computed once and used for both: `if (pointer + {size} > {data_end}) {}`",
                self.leave()
            ));
        }
        let start = self.places.variable_given("->data").unwrap_or("data".to_owned());
        let is_plain = start == "data";
        let start = if is_plain { start } else { format!("(void *){start}") };
        Some(format!(
            "prove first that the bytes exist: `if ({start} + {end} > {data_end}) {}`",
            self.leave()
        ))
    }

    fn index_check(&self, focus: &Focus) -> Option<String> {
        let size = focus.size?;
        let whole = super::drawing::size_of(focus.value.base, self.input)?;
        if focus.value.constant().is_some() {
            return Some(format!(
                "stay within the {whole} bytes, or make the {} larger",
                match focus.value.base {
                    Base::MapValue { .. } => "map's values",
                    _ => "memory",
                }
            ));
        }
        let fixed = focus.value.offset.checked_add(focus.offset)?;
        let room = i64::from(whole).checked_sub(fixed)?.checked_sub(size)?;
        if room < 0 {
            return None;
        }
        // An index counts elements; what is added to the pointer, bytes.
        let count = room / size + 1;
        let element = if size == 1 { String::new() } else { format!(" (of {size} bytes each)") };
        Some(format!("limit the index to the {count} elements{element}: {}", self.limit(count)))
    }

    /// How to keep a number below a count.
    fn limit(&self, count: i64) -> String {
        let number = self.number();
        let is_variable = number.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let refuse = format!("`if ({number} >= {count}) {}`", self.leave());
        match (is_variable, count & (count - 1) == 0) {
            (true, true) => format!("{refuse} or `{number} &= {};`", count - 1),
            (true, false) => refuse,
            (false, true) => format!("`{number} & {}`, or {refuse} on a copy of it", count - 1),
            (false, false) => format!("{refuse} on a copy of it"),
        }
    }

    /// How the source calls the number that is too little known: what a branch compares, the
    /// variable that gets it, or the expression that loads it.
    fn number(&self) -> String {
        let narrowed = self.related(|what| matches!(what, RelatedKind::Narrowed { .. }));
        let compared = narrowed.and_then(|related| self.expression(related));
        let origin = self.related(|what| match what {
            RelatedKind::Loaded { value, .. } | RelatedKind::Returned { value, .. } => {
                value.base == Base::Number
            }
            _ => false,
        });
        let fault = self.rejection.at.and_then(|at| self.places.line(at));
        let elsewhere = origin.filter(|related| self.places.line(related.at) != fault);
        let given = || self.variable(elsewhere);
        let loaded = || self.expression(origin?);
        compared.or_else(given).or_else(loaded).unwrap_or_else(|| "index".to_owned())
    }

    /// What stands in the source where something happened, if that can be written elsewhere too.
    fn expression(&self, related: &Related) -> Option<String> {
        let source = self.places.place(related.at).source?;
        let (start, end) = (source.column as usize, source.end_column as usize);
        let text = source.text.get(start.checked_sub(1)?..end.checked_sub(1)?)?;
        let is_value = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '*');
        let changes = text.contains("++") || text.contains("--") || text.ends_with('(');
        // A column may stand at the member of a structure: what is before it belongs to it.
        let before = source.text.get(..start - 1)?;
        let member = before.ends_with("->") || before.ends_with('.');
        let whole = if member { format!("{}{text}", object_of(before)) } else { text.to_owned() };
        (is_value && !changes && text.chars().any(char::is_alphanumeric)).then_some(whole)
    }

    fn argument(&self, focus: Option<&Focus>, message: &str) -> Option<String> {
        let number = self.number();
        if let Some(kind) = message.strip_prefix("expected an initialized ") {
            let kind = kind.split(' ').next().unwrap_or_default();
            return Some(format!("make it before: `bpf_{kind}_new(&it, ...);`"));
        }
        if focus.is_some_and(|focus| focus.value.base == Base::Number)
            && self.related(|what| matches!(what, RelatedKind::Invalidated { .. })).is_some()
        {
            return self.not_a_pointer(focus?);
        }
        Some(if message.contains("min value is negative") {
            format!(
                "declare the size unsigned, or refuse negative ones: `if ({number} < 0) {}`",
                self.leave()
            )
        } else if message.contains("zero-sized") {
            format!("refuse 0 as well: `if ({number} == 0) {}`", self.leave())
        } else if message.contains("not a known constant") {
            "pass a constant, such as `sizeof(struct event)`".to_owned()
        } else if message.contains("access to the packet") {
            "copy what is needed to the stack, and pass that".to_owned()
        } else if message.ends_with("expected=ctx") {
            "pass the program's own argument, unchanged".to_owned()
        } else if message.contains("expected=fp") {
            "pass the address of the memory: `&variable`".to_owned()
        } else if message.ends_with("expected=map_value") {
            "use a constant that the compiler keeps in `.rodata`: `static const char text[] = \"...\";`".to_owned()
        } else {
            focus?;
            return None;
        })
    }

    fn initialise(&self, focus: &Focus) -> String {
        match (focus.reg.index(), self.helper()) {
            (0, None) => format!("return something on every path: `{}`", self.leave()),
            (_, Some(id)) => match id.row() {
                Some(row) => format!("pass all arguments of `{}`", row.prototype()),
                None => "pass all arguments".to_owned(),
            },
            _ => "give the variable a value where it is declared: `= 0`".to_owned(),
        }
    }

    fn not_a_pointer(&self, focus: &Focus) -> Option<String> {
        let invalid = self.related(|what| matches!(what, RelatedKind::Invalidated { .. }));
        if let Some(Related { what: RelatedKind::Invalidated { before, .. }, .. }) = invalid {
            return Some(match before.base {
                base if base.is_packet() || base == Base::PacketEnd => {
                    "read `data` and `data_end` from the context again, and compare them again"
                        .to_owned()
                }
                _ => "use it before it is given back, and give it back once".to_owned(),
            });
        }
        if self.related(|what| matches!(what, RelatedKind::Unwritten)).is_some() {
            return Some(
                "give the variable a value where it is declared: `= {}` or `= NULL`".to_owned(),
            );
        }
        if focus.value.constant() == Some(0) {
            return Some(format!("on this path it is NULL; leave before: `{}`", self.leave()));
        }
        Some("only pointers that the verifier follows can be used to access memory; `bpf_probe_read_kernel` reads from other addresses of the kernel".to_owned())
    }

    fn release(&self) -> String {
        let acquired = self.related(|what| matches!(what, RelatedKind::Acquired { .. }));
        let name = self.variable(acquired).unwrap_or_else(|| "it".to_owned());
        let helper = acquired.and_then(|related| match related.what {
            RelatedKind::Acquired { ref function } => function.as_ref(),
            _ => None,
        });
        let call = match helper {
            Some(Called::Helper(HelperId::RINGBUF_RESERVE)) => {
                format!("`bpf_ringbuf_submit({name}, 0);` or `bpf_ringbuf_discard({name}, 0);`")
            }
            Some(Called::Helper(HelperId::RINGBUF_RESERVE_DYNPTR)) => {
                "`bpf_ringbuf_submit_dynptr(&it, 0);` or `bpf_ringbuf_discard_dynptr(&it, 0);`"
                    .to_owned()
            }
            Some(Called::Kernel(new)) if new == "bpf_obj_new_impl" => {
                format!("`bpf_obj_drop({name});`")
            }
            Some(Called::Helper(HelperId::KPTR_XCHG)) => {
                "if the old pointer is not NULL, `bpf_obj_drop(old);`, or what its type is given back with".to_owned()
            }
            Some(Called::Kernel(new)) if new.ends_with("_new") => {
                let destroy = new.replace("_new", "_destroy");
                return format!("destroy it on every path, also on this one: `{destroy}(&it);`");
            }
            Some(id) if id.to_string().contains("sk") => format!("`bpf_sk_release({name});`"),
            _ => return "give it back on every path".to_owned(),
        };
        format!("give it back on every path, also on this one: {call}")
    }

    fn lock(&self, message: &str) -> String {
        let text = if message.contains("is sleepable within") {
            "call it before the section begins or after it has ended"
        } else if message.starts_with("nested rcu") {
            "one section is enough: leave out the inner `bpf_rcu_read_lock();` and its end"
        } else if message.contains("rcu") {
            "begin and end the section on the same paths: `bpf_rcu_read_unlock();`"
        } else if message.contains("preempt") {
            "turn preemption off and on on the same paths: `bpf_preempt_enable();`"
        } else if message.contains("BPF_EXIT") {
            "unlock on every path before the program ends: `bpf_spin_unlock(&value->lock);`"
        } else if message.contains("must be held") {
            "take the lock that lies beside the list or tree first: `bpf_spin_lock(&lock);`"
        } else if message.contains("function calls") {
            "call it before the lock is taken or after it is released"
        } else if message.contains("without taking") {
            "lock and unlock on the same paths"
        } else {
            "unlock what was locked, with the same pointer"
        };
        text.to_owned()
    }

    fn stack(&self, focus: &Focus) -> String {
        match (focus.value.constant(), self.helper(), focus.size) {
            (None, ..) => {
                let start = focus.value.offset.checked_add(focus.offset);
                let room = start.and_then(i64::checked_neg).filter(|room| *room > 0);
                let count = room.zip(focus.size).map(|(room, size)| room.max(size) / size.max(1));
                match count {
                    Some(count) => {
                        format!("limit the index before, to what fits: {}", self.limit(count))
                    }
                    None => format!("limit the index before: {}", self.limit(8)),
                }
            }
            (Some(_), Some(_), Some(size)) if focus.value.offset >= -512 => {
                format!("make the variable at least {size} bytes large, or pass the size that it has")
            }
            _ => "a frame has at most 512 bytes; keep larger memory in a map, a per-CPU array for instance".to_owned(),
        }
    }

    fn context(&self, focus: &Focus) -> String {
        match focus.writes {
            true => "most fields of the context can only be read".to_owned(),
            false => "read fields of the context by their names and with the sizes that they were declared with".to_owned(),
        }
    }

    fn pointer_arithmetic(&self, message: &str) -> String {
        let text = if message.contains("pkt_end") {
            "compute from the packet's start instead, and only compare with its end"
        } else if message.contains("null-check") {
            return self.null_check();
        } else if message.contains("modified") {
            "pass the context as the program got it"
        } else if message.starts_with("variable") {
            "choose the field with `switch` or `if`, so that each access has a constant offset"
        } else {
            "pointers can only be added to and subtracted from; compute with what they point to"
        };
        text.to_owned()
    }
}

/// The end of a text that is the object of a member access, such as `skb->` in `x = skb->`.
fn object_of(text: &str) -> &str {
    let belongs = |c: char| c.is_ascii_alphanumeric() || "_->.".contains(c);
    let start = text.rfind(|c: char| !belongs(c));
    &text[start.map_or(0, |start| start + 1)..]
}
