//! What an instruction does, as a sentence with its operands filled in.

use alloc::format;
use alloc::string::{String, ToString};

use crate::insn::{Callee, Extend, HelperId, Imm64, Insn, Mem, Offset, PacketIndex, Reg, Src};
use crate::op::{AtomicOp, Size, Width};
use crate::platform;
use crate::text::c_like::Named;

pub(super) fn sentence(insn: &Insn<Offset>) -> String {
    match *insn {
        Insn::Alu { op, width, dst, src } => {
            let meaning = op.row().meaning.replace("{dst}", &named(width, dst));
            in_width(meaning.replace("{src}", &operand(width, src)), width, dst)
        }
        Insn::Neg { width, dst } => {
            in_width(format!("change the sign of {}", named(width, dst)), width, dst)
        }
        Insn::Movsx { op, dst, src } => {
            let row = op.row();
            let (dst_name, src) = (named(row.width, dst), named(row.width, src));
            let (from, to) = (row.from_bits, row.width.bits());
            let text =
                format!("set {dst_name} to the low {from} bits of {src}, sign-extended to {to}");
            in_width(text, row.width, dst)
        }
        Insn::Endian { op, bits, dst } => {
            let text = op.row().meaning.replace("{dst}", &dst.to_string());
            text.replace("{bits}", &bits.row().bits.to_string())
        }
        Insn::AddrSpaceCast { op, dst, src } => {
            let text = op.row().meaning.replace("{dst}", &dst.to_string());
            text.replace("{src}", &src.to_string())
        }
        Insn::LoadImm64 { dst, imm } => format!("set {dst} to {}", imm64(&imm)),
        Insn::Load { size, extend, dst, mem } => {
            let how = match (size, extend) {
                (Size::Dw, _) => "",
                (_, Extend::Zero) => ", zero-extended",
                (_, Extend::Sign) => ", sign-extended",
            };
            format!("set {dst} to {}{how}", bytes_at(size, mem))
        }
        Insn::Store { size, mem, src } => {
            format!("set {} to {}", bytes_at(size, mem), low(src, size))
        }
        Insn::Atomic { op, width, mem, src } => {
            let size = if width == Width::W32 { Size::W } else { Size::Dw };
            let text = op.row().meaning.replace("{mem}", &bytes_at(size, mem));
            let text = text.replace("{src}", &named(width, src));
            let text = match op {
                AtomicOp::Cmpxchg => text.replace("r0", &named(width, Reg::R0)),
                _ => text,
            };
            let old = if op == AtomicOp::Cmpxchg { Reg::R0 } else { src };
            let width = if op.row().fetch { width } else { Width::W64 };
            in_width(format!("in one step, {text}"), width, old)
        }
        Insn::LoadAcquire { size, dst, mem } => format!(
            "set {dst} to {}, zero-extended, before any later access to memory",
            bytes_at(size, mem)
        ),
        Insn::StoreRelease { size, mem, src } => format!(
            "set {} to {}, after all earlier accesses to memory",
            bytes_at(size, mem),
            low(Src::Reg(src), size)
        ),
        Insn::LoadPacket { size, index, imm } => {
            let what = bytes(size.size());
            let at = match index {
                PacketIndex::Absolute => format!("{imm}"),
                PacketIndex::Indirect(reg) => format!("{reg} + {imm}"),
            };
            format!(
                "set r0 to {what} at offset {at} of the packet, converted from network byte order; \
                 end the program with 0 if they are not there"
            )
        }
        Insn::Jump { target, .. } => jump(target),
        Insn::Branch { cond, width, dst, src, target } => {
            let meaning = cond.row().meaning.replace("{dst}", &named(width, dst));
            let meaning = meaning.replace("{src}", &operand(width, src));
            format!("if {meaning}, {}", jump(target))
        }
        Insn::MayGoto { target } => {
            format!("if the program has used up its budget for loops, {}", jump(target))
        }
        Insn::Call { callee } => call(&callee),
        Insn::Exit => String::from("return r0 to the caller, or as the result of the program"),
    }
}

fn named(width: Width, reg: Reg) -> String {
    Named(width, reg).to_string()
}

fn operand(width: Width, src: Src) -> String {
    match src {
        Src::Imm(imm) => imm.to_string(),
        Src::Reg(reg) => named(width, reg),
    }
}

/// 32-bit operations clear what is above their result.
fn in_width(text: String, width: Width, dst: Reg) -> String {
    match width {
        Width::W64 => text,
        Width::W32 => format!("{text}; the upper 32 bits of {dst} become 0"),
    }
}

fn bytes(size: Size) -> String {
    match size {
        Size::B => String::from("the byte"),
        Size::H | Size::W | Size::Dw => format!("the {} bytes", size.bytes()),
    }
}

fn bytes_at(size: Size, Mem { base, offset }: Mem) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    match offset {
        0 => format!("{} at {base}", bytes(size)),
        _ => format!("{} at {base} {sign} {}", bytes(size), offset.unsigned_abs()),
    }
}

fn low(src: Src, size: Size) -> String {
    match (src, size) {
        (Src::Imm(imm), _) => imm.to_string(),
        (Src::Reg(reg), Size::Dw) => reg.to_string(),
        (Src::Reg(reg), Size::B) => format!("the low byte of {reg}"),
        (Src::Reg(reg), Size::H | Size::W) => format!("the low {} bytes of {reg}", size.bytes()),
    }
}

fn imm64(imm: &Imm64<Offset>) -> String {
    let fill = |a: String, b: i32| {
        let text = imm.kind().row().meaning.replace("{imm}", &a);
        text.replace("{next_imm}", &b.to_string())
    };
    match *imm {
        Imm64::Value(value) => fill(format!("{} ({value:#x})", value as i64), 0),
        Imm64::MapByFd(fd) => fill(fd.to_string(), 0),
        Imm64::MapValueByFd { fd, offset } => fill(fd.to_string(), offset),
        Imm64::Variable { btf_id, btf_fd: 0 } => fill(btf_id.to_string(), 0),
        Imm64::Variable { btf_id, btf_fd } => {
            format!(
                "{} of the BTF object with file descriptor {btf_fd}",
                fill(btf_id.to_string(), 0)
            )
        }
        Imm64::Code(Offset(offset)) => fill(format!("{offset:+}"), 0),
        Imm64::MapByIdx(index) => fill(index.to_string(), 0),
        Imm64::MapValueByIdx { index, offset } => fill(index.to_string(), offset),
    }
}

/// Where a jump goes on.
fn jump(Offset(distance): Offset) -> String {
    match distance {
        0 => String::from("go on with the next instruction"),
        _ => format!("jump {}", slots_away(distance)),
    }
}

pub(super) fn slots_away(distance: i32) -> String {
    let slots = distance.unsigned_abs();
    let plural = if slots == 1 { "" } else { "s" };
    let way = if distance < 0 { "back" } else { "forward" };
    format!("{slots} slot{plural} {way}, counted from the next instruction")
}

fn call(callee: &Callee<Offset>) -> String {
    match callee {
        Callee::Helper(HelperId(id)) => match platform::HelperId(*id).row() {
            Some(row) => {
                let meaning = row.meaning.trim_end_matches('.');
                let (first, rest) = meaning.split_at_checked(1).unwrap_or(("", meaning));
                let first = first.to_lowercase();
                format!("call the helper function {}, which {first}{rest}", row.name)
            }
            None => format!("call the helper function number {id}, which Linux does not have"),
        },
        Callee::Local(Offset(distance)) => {
            format!("call the function {}", slots_away(*distance))
        }
        Callee::Kfunc { btf_id, btf_index: 0 } => {
            format!("call the kernel function with BTF id {btf_id}")
        }
        Callee::Kfunc { btf_id, btf_index } => format!(
            "call the function with BTF id {btf_id} of the module at index {btf_index} of the \
             program's list of BTF objects"
        ),
        Callee::Reg(reg) => {
            format!("call the function whose address or number is in {reg}; Linux refuses it")
        }
    }
}
