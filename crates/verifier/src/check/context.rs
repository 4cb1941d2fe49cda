//! Accesses to the context, by the table of what programs of each type may do.

use crate::check::memory::{Place, Stored};
use crate::domain::Scalar;
use crate::explore::Walk;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::{Kind, Reach, Value};
use skep_bpf::insn::{Extend, Reg};
use skep_bpf::platform::{Access, FieldKind, FieldRow, context_for};

impl Walk<'_> {
    /// A load from the context.
    pub(crate) fn load_context(&mut self, place: Place, extend: Extend) -> Check<Value> {
        if self.is_tracing() {
            return self.load_argument(place, extend);
        }
        let (field, off) = self.context_field(place, Access::Read)?;
        let kind = field.kind_of_load(off, place.size.bytes());
        if kind != FieldKind::Scalar && extend == Extend::Sign {
            return self.refuse_context(i64::from(off), place);
        }
        let pointer = |kind| Ok(Value::pointer(kind));
        let or_null = |kind, this: &mut Self| {
            let id = this.new_id();
            Ok(Value { or_null: true, id, ..Value::pointer(kind) })
        };
        match kind {
            FieldKind::Scalar => Ok(Value::number(Scalar::loaded(place.size, extend))),
            FieldKind::Packet => pointer(Kind::Packet(Reach::Bytes(0))),
            FieldKind::PacketMeta => pointer(Kind::PacketMeta(Reach::Bytes(0))),
            FieldKind::PacketEnd => pointer(Kind::PacketEnd),
            FieldKind::SockCommonOrNull => or_null(Kind::SockCommon, self),
            FieldKind::SocketOrNull => or_null(Kind::Socket, self),
            FieldKind::Socket => pointer(Kind::Socket),
            FieldKind::FlowKeys => pointer(Kind::FlowKeys),
            FieldKind::TracepointBuffer => pointer(Kind::TracepointBuffer),
            FieldKind::Btf(type_name) => {
                let type_id = self.kernel_struct(type_name)?;
                pointer(Kind::Btf { type_id, trust: Trust::TRUSTED })
            }
            FieldKind::ByTarget => unsupported("contexts typed by the BTF of the attach target"),
        }
    }

    /// A store to the context.
    pub(crate) fn store_context(&mut self, place: Place, _stored: Stored) -> Check {
        self.context_field(place, Access::Write).map(|_| ())
    }

    /// The field of an access, and the offset in the context.
    fn context_field(&self, place: Place, access: Access) -> Check<(&'static FieldRow, u32)> {
        let pointer = self.state.reg(place.base);
        self.check_unmodified(place.base, &pointer, false)?;
        let off = i64::from(pointer.off) + i64::from(place.off);
        let fields = context_for(self.input.prog_type, self.input.attach_type);
        let in_range = u32::try_from(off).ok();
        let found = fields
            .zip(in_range)
            .and_then(|(fields, off)| Some((fields.allows(off, place.size.bytes(), access)?, off)));
        match found {
            Some(found) => Ok(found),
            None => self.refuse_context(off, place),
        }
    }

    fn refuse_context<T>(&self, off: i64, place: Place) -> Check<T> {
        fault(
            Rule::Context,
            format!("invalid bpf_context access off={off} size={}", place.size.bytes()),
        )
    }

    /// Some pointers are only of use as they were given: without offset, or without a variable
    /// one.
    pub(crate) fn check_unmodified(&self, reg: Reg, value: &Value, fixed_allowed: bool) -> Check {
        let name = value.type_name();
        let number = reg.index();
        if value.off < 0 {
            return fault(
                Rule::PointerArithmetic,
                format!("negative offset {name} ptr R{number} off={} disallowed", value.off),
            );
        }
        if !fixed_allowed && value.off != 0 {
            return fault(
                Rule::PointerArithmetic,
                format!(
                    "dereference of modified {name} ptr R{number} off={} disallowed",
                    value.off
                ),
            );
        }
        if value.scalar.as_constant() != Some(0) {
            return fault(
                Rule::PointerArithmetic,
                format!("variable {name} access var_off={} disallowed", value.scalar.tnum()),
            );
        }
        Ok(())
    }
}
