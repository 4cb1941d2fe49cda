//! Lists and trees of objects, and the lock that guards them.
//!
//! A list or tree lies in a map's value or an object, beside the lock that must be held. What is
//! put into it is only borrowed from then on; what is taken out is owned. (Linux 6.18,
//! `process_kf_arg_ptr_to_graph_root`, `process_kf_arg_ptr_to_graph_node`.)

use crate::explore::Walk;
use crate::input::{FieldTarget, SpecialField, SpecialKind};
use crate::rejection::{Check, Rule, detailed, fault, unsupported};
use crate::state::frame::{Active, Entered};
use crate::state::value::{AllocatedPointer, Kind, Value};
use crate::state::{Lock, LockOwner};
use skep_bpf::insn::Reg;
use skep_bpf::platform::ArgKind;
use skep_bpf::platform::object::{ObjectCall, ObjectRow};

/// A list or tree that was passed, and what it holds.
struct Root {
    name: &'static str,
    node: SpecialKind,
    target: FieldTarget,
    /// Where its elements have the node.
    off: u32,
}

impl Walk<'_> {
    /// A call of a kernel function that deals with a list or tree.
    pub(crate) fn graph_call(&mut self, row: &ObjectRow) -> Check {
        let kind = match row.call {
            ObjectCall::ListPush | ObjectCall::ListPop | ObjectCall::ListPeek => {
                SpecialKind::ListHead
            }
            _ => SpecialKind::TreeRoot,
        };
        let root = self.check_root(kind)?;
        // Offsets in structures are below 2^29.
        let off = root.off as i32;
        match row.call {
            ObjectCall::ListPush | ObjectCall::TreeAdd => {
                self.check_owned_node(&root)?;
                if row.call == ObjectCall::TreeAdd {
                    let function = self.comparing_function()?;
                    self.check_number(Reg::R5)?;
                    self.call_back_less(&root, function)?;
                } else {
                    self.check_number(Reg::R4)?;
                }
                let added = self.state.reg(Reg::R2).ref_id;
                self.lend(added)?;
                self.clobber_caller_saved();
                self.state.set(Reg::R0, Value::UNKNOWN);
                Ok(())
            }
            ObjectCall::ListPop => {
                self.clobber_caller_saved();
                self.own_object(root.target.type_id, false, off, true)
            }
            ObjectCall::TreeRemove => {
                self.check_linked_node(&root, row.name)?;
                self.clobber_caller_saved();
                self.own_object(root.target.type_id, false, off, true)
            }
            ObjectCall::TreeWalk => {
                self.check_linked_node(&root, row.name)?;
                self.show(&root)
            }
            _ => self.show(&root),
        }
    }

    /// R0 is an object in the list or tree, or NULL.
    fn show(&mut self, root: &Root) -> Check {
        let object = self.borrowed(root)?;
        let id = self.new_id();
        self.clobber_caller_saved();
        let pointer = Value::pointer(Kind::Allocated(object));
        self.state.set(Reg::R0, Value { or_null: true, off: root.off as i32, id, ..pointer });
        Ok(())
    }

    /// A pointer to an object that somebody else owns as long as the lock is held.
    fn borrowed(&self, root: &Root) -> Check<AllocatedPointer> {
        let object = self.object_pointer(root.target.type_id)?;
        Ok(AllocatedPointer { borrowed: true, rcu: object.is_counted(), ..object })
    }

    /// R1 is a list or tree, and its lock is held.
    fn check_root(&self, kind: SpecialKind) -> Check<Root> {
        let value = self.read(Reg::R1)?;
        self.check_argument_offset(Reg::R1, &value, ArgKind::Anything)?;
        let (owner, fields) = self.fields_behind(&value, 0)?;
        if owner == LockOwner::Object && value.ref_id == 0 {
            return fault(Rule::Object, "allocated object must be referenced");
        }
        let name = kind.name();
        let Some(off) = value.fixed_offset() else {
            return fault(
                Rule::HelperArgument,
                format!("R1 doesn't have constant offset. {name} has to be at the constant offset"),
            );
        };
        let at = |field: &&SpecialField| field.kind == kind && i64::from(field.offset) == off;
        let Some(field) = fields.iter().find(at) else {
            return fault(Rule::Object, format!("{name} not found at offset={off}"));
        };
        self.check_guarded(owner, value.id, &fields, name)?;
        let target = field.target.clone();
        let node_offset = target.as_ref().and_then(|target| target.node_offset);
        let Some((target, off)) = target.zip(node_offset) else {
            return unsupported(format_args!("a {name} that does not say what it holds"));
        };
        let node = match kind {
            SpecialKind::ListHead => SpecialKind::ListNode,
            _ => SpecialKind::TreeNode,
        };
        Ok(Root { name, node, target, off })
    }

    /// The special fields of what a pointer points to: a map's value, or an object that is owned.
    fn fields_behind(&self, value: &Value, index: usize) -> Check<(LockOwner, Vec<SpecialField>)> {
        match value.kind {
            Kind::MapValue(map) if !value.or_null => {
                let facts = self.map(map)?;
                Ok((LockOwner::Map(map), self.fields_of_value(facts).to_vec()))
            }
            Kind::Allocated(object) if !value.or_null && object.is_owned() && !object.percpu => {
                Ok((LockOwner::Object, self.fields_of(object.type_id)?.to_vec()))
            }
            _ => fault(
                Rule::Object,
                format!("arg#{index} expected pointer to map value or allocated object"),
            ),
        }
    }

    /// The lock beside a list or tree is held.
    fn check_guarded(
        &self,
        owner: LockOwner,
        id: u32,
        fields: &[SpecialField],
        name: &str,
    ) -> Check {
        if self.state.lock == Some(Lock { owner, id }) {
            return Ok(());
        }
        let details = self
            .state
            .lock
            .map(|_| "held lock and object are not in the same allocation".to_owned());
        let lock = fields.iter().find(|field| field.kind == SpecialKind::SpinLock);
        let off = lock.map_or(-1, |field| i64::from(field.offset));
        detailed(Rule::Lock, details, format!("bpf_spin_lock at off={off} must be held for {name}"))
    }

    /// R2 is the node of an object that the program owns.
    fn check_owned_node(&self, root: &Root) -> Check {
        let value = self.read(Reg::R2)?;
        self.check_argument_offset(Reg::R2, &value, ArgKind::Anything)?;
        let object = match value.kind {
            Kind::Allocated(object) if !value.or_null && object.is_owned() && !object.percpu => {
                object
            }
            _ => return fault(Rule::Object, "arg#1 expected pointer to allocated object"),
        };
        if value.ref_id == 0 {
            return fault(Rule::Object, "allocated object must be referenced");
        }
        self.check_node(root, &value, object)
    }

    /// R2 is the node of an object that may be in the tree.
    fn check_linked_node(&self, root: &Root, function: &str) -> Check {
        let value = self.read(Reg::R2)?;
        self.check_argument_offset(Reg::R2, &value, ArgKind::Anything)?;
        let object = match value.kind {
            Kind::Allocated(object) if object.borrowed || value.ref_id != 0 => Some(object),
            _ => None,
        };
        if object.is_none() && value.ref_id == 0 {
            return fault(
                Rule::Object,
                format!("{function} can only take non-owning or refcounted bpf_rb_node pointer"),
            );
        }
        if self.compares_nodes() {
            return fault(Rule::Object, format!("{function} not allowed in rbtree cb"));
        }
        let Some(object) = object.filter(|object| !object.percpu) else {
            let off = value.fixed_offset().unwrap_or_default();
            return fault(Rule::Object, format!("{} not found at offset={off}", root.node.name()));
        };
        if value.or_null {
            return fault(Rule::MaybeNull, "Possibly NULL pointer passed to trusted arg1");
        }
        self.check_node(root, &value, object)
    }

    /// The pointer is to the node of an object such as the list or tree holds.
    fn check_node(&self, root: &Root, value: &Value, object: AllocatedPointer) -> Check {
        let (name, node, expected) = (root.name, root.node.name(), root.off);
        let Some(off) = value.fixed_offset() else {
            return fault(
                Rule::HelperArgument,
                format!("R2 doesn't have constant offset. {node} has to be at the constant offset"),
            );
        };
        let at = |field: &SpecialField| field.kind == root.node && i64::from(field.offset) == off;
        if !self.fields_of(object.type_id)?.iter().any(at) {
            return fault(Rule::Object, format!("{node} not found at offset={off}"));
        }
        let held = &root.target.type_name;
        if object.type_id != root.target.type_id {
            let found = self.program_types()?.name(object.type_id);
            return fault(
                Rule::Object,
                format!(
                    "operation on {name} expects arg#1 {node} at offset={expected} in struct {held}, but arg is at offset={off} in struct {found}"
                ),
            );
        }
        if off != i64::from(expected) {
            return fault(
                Rule::Object,
                format!(
                    "arg#1 offset={off}, but expected {node} at offset={expected} in struct {held}"
                ),
            );
        }
        Ok(())
    }

    /// Pointers to an object that was owned are borrowed from now on.
    fn lend(&mut self, ref_id: u32) -> Check {
        if !self.state.drop_reference(ref_id) {
            return fault(Rule::Reference, "reference has not been acquired before");
        }
        self.state.update(
            |value| value.ref_id == ref_id,
            |value| {
                value.ref_id = 0;
                if let Kind::Allocated(object) = &mut value.kind {
                    object.borrowed = true;
                    object.rcu = object.is_counted();
                }
            },
        );
        Ok(())
    }

    /// When a section of RCU ends, what was protected by it may be gone. The kernel lets some of
    /// it be read still.
    pub(crate) fn end_protection(&mut self) {
        let protected = |value: &Value| matches!(value.kind, Kind::Allocated(object) if object.rcu);
        self.state.update(protected, |value| *value = Value::UNKNOWN);
    }

    /// When the lock is released, what was borrowed under it is gone.
    pub(crate) fn end_borrowing(&mut self) {
        let borrowed =
            |value: &Value| matches!(value.kind, Kind::Allocated(object) if object.borrowed);
        self.state.update(borrowed, |value| *value = Value::UNKNOWN);
    }

    fn comparing_function(&self) -> Check<usize> {
        match self.read(Reg::R3)?.kind {
            Kind::Function(function) => Ok(usize::from(function)),
            _ => fault(Rule::HelperArgument, "arg2 expected pointer to func"),
        }
    }

    /// `bpf_rbtree_add(root, node, less)` calls `less(node, other)` to find the place.
    fn call_back_less(&mut self, root: &Root, function: usize) -> Check {
        let mut frame = self.new_frame(function)?;
        let node =
            Value { off: root.off as i32, ..Value::pointer(Kind::Allocated(self.borrowed(root)?)) };
        for reg in [Reg::R1, Reg::R2] {
            frame.set(reg, node);
        }
        self.push_callback(frame)
    }

    /// Whether the program is in a function that finds the place of an object in a tree.
    pub(crate) fn compares_nodes(&self) -> bool {
        let compares = |frame: &Active| {
            frame.entered == Entered::Callback && self.code.adds_to_tree(frame.callsite)
        };
        self.state.frames.iter().any(compares)
    }
}
