//! What is said of a fault, and of the values that it is about.

use super::drawing::{accessed, size_of};
use super::place::Places;
use crate::history::{Base, Called, Focus, Known};
use crate::input::Input;
use crate::rejection::{Rejection, Rule};
use skep_bpf::codec::decode;
use skep_bpf::platform::{Access, HelperId, context_for, context_of};

/// A number of bytes in words.
pub(crate) fn bytes(count: i64) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

/// A map by its name.
pub(crate) fn map_name(input: &Input<'_>, map: u16) -> String {
    match input.maps.get(usize::from(map)) {
        Some(facts) if !facts.name.is_empty() => format!("map `{}`", facts.name),
        _ => format!("map {map}"),
    }
}

/// What a value is, in words.
pub(crate) fn describe(value: &Known, input: &Input<'_>) -> String {
    let thing = match value.base {
        Base::Nothing => return "nothing".to_owned(),
        Base::Number if value.is_unknown() => return "a number that may be anything".to_owned(),
        Base::Number if value.constant().is_some() => {
            return format!("the number {}", value.interval());
        }
        Base::Number => return format!("a number, {}", value.interval()),
        Base::Context => "the context".to_owned(),
        Base::Map(map) => map_name(input, map),
        Base::MapValue { map, inner: false } => format!("a value of {}", map_name(input, map)),
        Base::MapValue { inner: true, .. } => "a value of a map within a map".to_owned(),
        Base::Stack { .. } => "the stack".to_owned(),
        Base::Packet { .. } => "the packet".to_owned(),
        Base::PacketMeta { .. } => "the packet's metadata".to_owned(),
        Base::PacketEnd => "the packet's end".to_owned(),
        Base::Memory { record: true, .. } => "a record of a ring buffer".to_owned(),
        Base::Memory { size, .. } => format!("memory of {}", bytes(i64::from(size))),
        Base::Other(name) => other_name(name).to_owned(),
    };
    let null = if value.may_be_null { "NULL or a pointer" } else { "a pointer" };
    format!("{null} to {thing}")
}

fn other_name(name: &str) -> &str {
    match name {
        "sock" | "sock_common" => "a socket",
        "tcp_sock" => "a TCP socket",
        "xdp_sock" => "an AF_XDP socket",
        "object" => "an object of the program",
        "flow_keys" => "the flow keys",
        "tp_buffer" => "the tracepoint's buffer",
        "ptr_" | "trusted_ptr_" => "an object of the kernel",
        other => other,
    }
}

/// What is wrong at the place of the fault.
pub(crate) fn primary(rejection: &Rejection, input: &Input<'_>) -> String {
    let insn = rejection.at.and_then(|at| decode(&input.bytecode.slots, at).ok());
    let called = insn.as_ref().and_then(|insn| Called::of(insn, input.bytecode));
    let helper = called.as_ref();
    match &rejection.focus {
        Some(focus) => about_value(rejection, focus, helper, input),
        None => about_program(rejection, helper),
    }
}

fn about_program(rejection: &Rejection, helper: Option<&Called>) -> String {
    let message = rejection.message.as_str();
    let name = helper.map_or_else(|| "this function".to_owned(), |id| id.to_string());
    match rejection.rule {
        Rule::Reference if helper.and_then(Called::helper) == Some(HelperId::TAIL_CALL) => {
            "the program hands over to another one, and still holds a reference".to_owned()
        }
        Rule::Reference => "the program ends here, and still holds a reference".to_owned(),
        Rule::Lock if message.starts_with("function calls") => {
            format!("`{name}` is called while the lock is held")
        }
        Rule::Lock if message.contains("must be held") => {
            format!("`{name}` is called without the lock that guards the list or tree")
        }
        Rule::Lock if message.contains("without taking") => "no lock is held here".to_owned(),
        Rule::Lock if message.contains("different lock") => {
            "this is not the lock that was taken".to_owned()
        }
        _ if message.starts_with("expected an initialized") => {
            format!("`{name}` is called with something that is no iterator yet")
        }
        Rule::Object if message.contains("must be referenced") => {
            format!("`{name}` wants an object that the program owns")
        }
        Rule::Object if message.contains("expected pointer to allocated") => {
            format!("`{name}` wants an object that the program owns, and this is none any more")
        }
        Rule::Object if message.contains("non-owning or refcounted") => {
            format!("`{name}` wants an object of the tree, and this pointer is meaningless by now")
        }
        Rule::Object if message.contains("not found at offset") => {
            format!("`{name}` wants a pointer to the list, tree or node itself")
        }
        Rule::Object if message.contains("rbtree cb") => {
            format!("`{name}` cannot be called while the tree looks for a place")
        }
        Rule::Dynptr if message.starts_with("Expected an initialized") => {
            format!("`{name}` is called with something that is no dynamic pointer")
        }
        Rule::Dynptr if message.starts_with("Expected a dynptr") => {
            format!("`{name}` is for dynamic pointers of another kind")
        }
        Rule::Dynptr if message.starts_with("cannot overwrite") => {
            "this writes over a dynamic pointer whose record is not given back yet".to_owned()
        }
        Rule::Dynptr if message.starts_with("potential write") => {
            format!("`{name}` would write over a dynamic pointer")
        }
        Rule::Dynptr if message.contains("uninitialized") => {
            format!("`{name}` cannot make a dynamic pointer there")
        }
        Rule::Dynptr => format!("`{name}` wants a dynamic pointer on the stack"),
        Rule::CallDepth => "this call makes too many functions active".to_owned(),
        Rule::Lock if message.contains("BPF_EXIT") => {
            let still = match message {
                _ if message.contains("rcu_read_lock") => "and the RCU section has not",
                _ if message.contains("preempt_disable") => "and preemption is still off",
                _ => "and still holds the lock",
            };
            format!("the program ends here, {still}")
        }
        Rule::Lock if message.starts_with("unmatched rcu") => {
            "no RCU section has begun here".to_owned()
        }
        Rule::Lock if message.starts_with("nested rcu") => {
            "an RCU section has begun already".to_owned()
        }
        Rule::Lock if message.starts_with("unmatched attempt") => {
            "preemption is not off here".to_owned()
        }
        Rule::Lock if message.contains("is sleepable within") => {
            format!("`{name}` may have to wait, which it must not in this section")
        }
        Rule::HelperNotAllowed if message.contains("GPL") => {
            format!("`{name}` is for programs under a licence that is compatible with the GPL")
        }
        Rule::HelperNotAllowed if message.contains("sleep") => {
            format!("`{name}` may have to wait, and this program must not")
        }
        Rule::HelperNotAllowed => {
            format!("programs of this type do not have `{name}`")
        }
        Rule::Map => format!("`{name}` does not work with a map of this type"),
        Rule::HelperArgument if message == "Invalid format string" => {
            "the format has a conversion that the kernel does not know, or more of them than there are arguments".to_owned()
        }
        Rule::Exception => "this throws out of a function that the kernel calls".to_owned(),
        Rule::HelperArgument if message.contains("access to the packet") => {
            format!("`{name}` does not take pointers into the packet")
        }
        Rule::Arithmetic if message.starts_with("div") => {
            "the divisor is the constant 0".to_owned()
        }
        Rule::Unreachable => "no path leads here".to_owned(),
        Rule::InfiniteLoop => {
            "the verifier comes back here with everything as it was before".to_owned()
        }
        Rule::FramePointer => "R10 is the frame pointer and cannot be written".to_owned(),
        Rule::Unsupported => "this is not supported here".to_owned(),
        Rule::Structure if message.starts_with("jump out of range") => {
            "this jump leads out of its function".to_owned()
        }
        _ => message.lines().last().unwrap_or_default().to_owned(),
    }
}

fn about_value(
    rejection: &Rejection,
    focus: &Focus,
    helper: Option<&Called>,
    input: &Input<'_>,
) -> String {
    let reg = focus.reg.index();
    let message = rejection.message.as_str();
    let value = &focus.value;
    let described = describe(value, input);
    match rejection.rule {
        Rule::PacketBounds | Rule::MemoryBounds => out_of_bounds(focus, helper, input),
        Rule::Stack if focus.size.is_some() && value.constant().is_some() => {
            out_of_bounds(focus, helper, input)
        }
        Rule::Stack => format!("the place on the stack is not known: {value}"),
        Rule::MaybeNull => format!("R{reg} may be NULL here"),
        Rule::NotAPointer if value.base == Base::Number && value.constant() == Some(0) => {
            format!("R{reg} is NULL here")
        }
        Rule::NotAPointer if value.base == Base::Number => {
            format!("R{reg} is used as a pointer, but is {described}")
        }
        Rule::NotAPointer => format!("R{reg} is {described}, through which nothing is accessed"),
        Rule::Uninitialised if reg == 0 && helper.is_none() => {
            "the function ends here without a value to return: R0 holds nothing".to_owned()
        }
        Rule::Uninitialised => match helper {
            Some(id) => {
                format!("`{id}` takes an argument in R{reg}, which holds nothing here")
            }
            None => format!("R{reg} is read, but holds nothing here"),
        },
        Rule::PointerArithmetic if message.contains("dereference of modified") => {
            format!("R{reg} must point to the start of the context here, but is {value}")
        }
        Rule::PointerArithmetic if message.contains("from scalar") => {
            "a pointer is subtracted from a number".to_owned()
        }
        Rule::PointerArithmetic if message.starts_with("variable ctx") => {
            format!("which field is meant is not known: R{reg} = {value}")
        }
        Rule::PointerArithmetic => {
            format!("R{reg} is {described}; pointers cannot be computed with like this")
        }
        Rule::Unbounded if message.starts_with("math between") => {
            "a number without a known lower bound is added to a pointer".to_owned()
        }
        Rule::Unbounded => unbounded(rejection, focus, helper),
        Rule::HelperArgument => argument(rejection, focus, helper, input),
        Rule::Context => context_access(focus, input),
        Rule::Alignment => match accessed(focus).zip(focus.size) {
            Some(((start, _), size)) => format!(
                "{} {} at offset {start}, which is no multiple of {size}",
                verb(focus, helper),
                bytes(size)
            ),
            None => "this access is not aligned".to_owned(),
        },
        Rule::Permission => permission(rejection, focus, input),
        Rule::ReturnValue if message.contains("callback return") => {
            format!("R0, what the function returns to the kernel, is {described} here")
        }
        Rule::ReturnValue => format!("R0, what the program returns, is {described} here"),
        Rule::Atomic => {
            format!("atomic operations do not work on {}", pointed_to(value, input))
        }
        Rule::MixedPointers => {
            format!("R{reg} is {described} here, and on another path a pointer of another kind")
        }
        Rule::Arithmetic if message.starts_with("invalid shift") => {
            "shifts by as many bits as there are, or more".to_owned()
        }
        Rule::Map => {
            let name = helper.map_or_else(|| "the helper".to_owned(), |id| id.to_string());
            let Base::Map(map) = value.base else {
                return format!("`{name}` does not work with this map");
            };
            let facts = input.maps.get(usize::from(map));
            let of_type = facts.map(|facts| format!(", which is of type {}", facts.map_type));
            let map = map_name(input, map);
            format!("`{name}` does not work with {map}{}", of_type.unwrap_or_default())
        }
        Rule::Reference if message.contains("must be referenced") => {
            format!("R{reg} holds nothing that could be given back")
        }
        _ => about_program(rejection, helper),
    }
}

pub(crate) fn pointed_to(value: &Known, input: &Input<'_>) -> String {
    let described = describe(value, input);
    described.strip_prefix("a pointer to ").unwrap_or(&described).to_owned()
}

fn verb(focus: &Focus, helper: Option<&Called>) -> String {
    let what = if focus.writes { "write" } else { "read" };
    match helper {
        Some(id) => format!("`{id}` would {what}"),
        None => format!("{what}s"),
    }
}

fn out_of_bounds(focus: &Focus, helper: Option<&Called>, input: &Input<'_>) -> String {
    let verb = verb(focus, helper);
    let Some(size) = focus.size else {
        return format!("R{} is {}", focus.reg.index(), focus.value);
    };
    let mut place = focus.value;
    place.offset += focus.offset;
    let what = bytes(size);
    match place.base {
        Base::Packet { proved } | Base::PacketMeta { proved } => {
            let known = match (proved, place.constant()) {
                (0, None) if is_too_wide(&focus.value) => {
                    "the offset may exceed 65535, and then no comparison with `data_end` proves anything".to_owned()
                }
                (0, Some(_)) => "nothing of the packet is known to exist".to_owned(),
                (0, None) => "nothing is known to exist from there on".to_owned(),
                (n, _) => format!("only {} are known to exist", bytes(i64::from(n))),
            };
            format!("{verb} {what} at {place}, but {known}")
        }
        Base::Stack { .. } => match accessed(focus) {
            Some((start, _)) if start < -512 => {
                format!("{verb} {what} at {place}, but a frame has at most 512 bytes")
            }
            Some((start, end)) if end > 0 => format!(
                "{verb} {what} at {place}: only {} are left up to the end of the frame",
                bytes((-start).max(0))
            ),
            _ => format!("{verb} {what} at {place}"),
        },
        base => {
            let whole = size_of(base, input).map_or_else(
                || "memory".to_owned(),
                |size| {
                    format!(
                        "{}, which has {}",
                        pointed_to(&place_of(base), input),
                        bytes(i64::from(size))
                    )
                },
            );
            match accessed(focus) {
                Some((start, end)) if place.constant().is_none() => {
                    format!(
                        "may {} up to byte {} (from {start} on) of {whole}",
                        infinitive(focus),
                        end - 1
                    )
                }
                Some((start, end)) => {
                    format!("{verb} bytes {start} to {} of {whole}", end - 1)
                }
                None => format!("{verb} {what} at {place}"),
            }
        }
    }
}

/// Whether a pointer into the packet may lie so far in it that comparing it proves nothing.
pub(crate) fn is_too_wide(pointer: &Known) -> bool {
    const MAX_PACKET_OFFSET: i64 = 0xffff;
    pointer.smax.saturating_add(pointer.offset.max(0)) > MAX_PACKET_OFFSET
}

fn place_of(base: Base) -> Known {
    Known { base, may_be_null: false, offset: 0, umin: 0, umax: 0, smin: 0, smax: 0 }
}

fn infinitive(focus: &Focus) -> &'static str {
    if focus.writes { "write" } else { "read" }
}

fn unbounded(rejection: &Rejection, focus: &Focus, helper: Option<&Called>) -> String {
    let reg = focus.reg.index();
    let interval = focus.value.interval();
    match helper {
        Some(id) if focus.value.base == Base::Number => {
            format!("`{id}` takes a size in R{reg}, which may be too large: {interval}")
        }
        _ if rejection.message.contains("min value is negative") => {
            format!("R{reg} may point before the start: {}", focus.value)
        }
        _ => format!("R{reg} may point far beyond the end: {}", focus.value),
    }
}

fn argument(
    rejection: &Rejection,
    focus: &Focus,
    helper: Option<&Called>,
    input: &Input<'_>,
) -> String {
    let reg = focus.reg.index();
    let name = helper.map_or_else(|| "the helper".to_owned(), |id| format!("`{id}`"));
    let described = describe(&focus.value, input);
    let message = rejection.message.as_str();
    if let Some((_, expected)) = message.split_once("expected=") {
        return format!("{name} wants {} in R{reg}, but that is {described}", wanted(expected));
    }
    if message.contains("min value is negative") {
        return format!("the size in R{reg} may be negative: {}", focus.value.interval());
    }
    if message.contains("zero-sized") {
        return format!("the size in R{reg} may be 0: {}", focus.value.interval());
    }
    if message.contains("not a known constant") {
        return format!("{name} wants a constant in R{reg}, but that is {described}");
    }
    if message.contains("access to the packet") {
        return format!("{name} does not take pointers into the packet");
    }
    format!("R{reg} is {described}")
}

/// What the kernel's list of types comes to.
fn wanted(expected: &str) -> &'static str {
    match expected {
        "ctx" => "the context",
        "map_ptr" => "a map",
        "map_value" => "a map value",
        "scalar" => "a number",
        "ringbuf_mem" => "a record of a ring buffer",
        list if list.starts_with("fp") => "a pointer to memory",
        list if list.starts_with("sock") => "a socket",
        _ => "something else",
    }
}

fn context_access(focus: &Focus, input: &Input<'_>) -> String {
    let start = focus.value.offset + focus.offset;
    let Some(size) = focus.size else {
        return "this access to the context is not allowed".to_owned();
    };
    let what = bytes(size);
    let context = context_of(input.prog_type);
    let offset = u32::try_from(start).ok();
    let field = context.zip(offset).and_then(|(context, offset)| context.field_at(offset));
    let Some(field) = field else {
        let whole = context.map_or(String::new(), |context| {
            format!(" of `{}`, which has {}", context.c_type, bytes(i64::from(context.size)))
        });
        let verb = infinitive(focus);
        return format!("there is nothing to {verb} with {what} at byte {start}{whole}");
    };
    let name = field.name;
    let fields = context_for(input.prog_type, input.attach_type);
    let readable = fields.is_some_and(|fields| {
        fields.allows(field.offset, field.element_size, Access::Read).is_some()
    });
    match focus.writes {
        true if readable => format!("`{name}` cannot be written by this program"),
        false if readable => format!(
            "`{name}` cannot be read with {what} at byte {start}; it has {}",
            bytes(i64::from(field.size()))
        ),
        _ => format!("programs of this type do not have `{name}`"),
    }
}

fn permission(rejection: &Rejection, focus: &Focus, input: &Input<'_>) -> String {
    let message = rejection.message.as_str();
    let thing = pointed_to(&focus.value, input);
    if let Some(field) = message.strip_suffix(" cannot be accessed directly by load/store") {
        return format!("touches the `{field}` in {thing}, which only its helpers may");
    }
    match focus.writes {
        true => format!("writes to {thing}, which can only be read"),
        false => format!("reads from {thing}, which can only be written"),
    }
}

/// What is known of the registers that the fault is about.
pub(crate) fn notes(rejection: &Rejection, input: &Input<'_>, places: &Places<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(at) = rejection.at {
        let place = places.place(at);
        let mut note = format!("instruction {}: {}", place.insn, place.text);
        if let Some(focus) = &rejection.focus
            && focus.value.base != Base::Nothing
        {
            note.push_str(&format!(
                ", where R{} = {}",
                focus.reg.index(),
                known(&focus.value, input)
            ));
        }
        notes.push(note);
    }
    if rejection.rule == Rule::Budget {
        notes.push(format!(
            "{} instructions were walked, over all paths; {} states were remembered",
            rejection.stats.insns_processed, rejection.stats.total_states
        ));
    }
    notes
}

/// A value as one would write it, with the map's name.
fn known(value: &Known, input: &Input<'_>) -> String {
    match value.base {
        Base::MapValue { map, inner: false } => {
            let text = value.to_string();
            text.replacen("map value", &format!("value of {}", map_name(input, map)), 1)
        }
        Base::Map(map) => map_name(input, map),
        _ => value.to_string(),
    }
}
