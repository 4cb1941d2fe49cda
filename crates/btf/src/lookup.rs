//! Finding types by number, name and kind, and the lists they hold.

use crate::names::NameIndex;
use crate::parse::Btf;
use crate::types::{
    Composite, DatasecVar, Enum, EnumValue, Kind, List, Member, Param, Str, Type, TypeId,
};

static VOID: Type = Type { name: Str(0), kind: Kind::Void };

impl Btf {
    /// All types but `void`, in order of their numbers.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        (0u32..).map(TypeId).zip(&self.types).skip(1)
    }

    /// The number of types, `void` not counted.
    pub fn len(&self) -> usize {
        self.types.len().saturating_sub(1)
    }

    /// Whether there are no types but `void`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type with that number, if there is one.
    pub fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(usize::try_from(id.0).ok()?)
    }

    /// The type with that number. Parsing checked all numbers inside the section; a number from
    /// elsewhere that has no type here gives `void` ([`Btf::get`] tells).
    pub fn ty(&self, id: TypeId) -> &Type {
        self.get(id).unwrap_or(&VOID)
    }

    /// What the type with that number is; see [`Btf::ty`].
    pub fn kind(&self, id: TypeId) -> &Kind {
        &self.ty(id).kind
    }

    /// The name of a type; empty for those that have none.
    pub fn name(&self, id: TypeId) -> &str {
        self.str(self.ty(id).name)
    }

    /// The members of a struct or union.
    pub fn members(&self, composite: &Composite) -> &[Member] {
        composite.members.of(&self.members)
    }

    /// The enumerators of an enumeration.
    pub fn enum_values(&self, enumeration: &Enum) -> &[EnumValue] {
        enumeration.values.of(&self.values)
    }

    /// The parameters of a function prototype.
    pub fn params(&self, params: List<Param>) -> &[Param] {
        params.of(&self.params)
    }

    /// The variables of a section.
    pub fn datasec_vars(&self, vars: List<DatasecVar>) -> &[DatasecVar] {
        vars.of(&self.vars)
    }

    /// The types with that name, in order of their numbers.
    pub fn named(&self, name: &str) -> impl Iterator<Item = (TypeId, &Type)> {
        self.by_name
            .candidates(name)
            .map(|id| (id, self.ty(id)))
            .filter(move |(_, ty)| self.str(ty.name) == name)
    }

    /// The first type with that name for whose kind `accept` is true.
    pub fn find(&self, name: &str, accept: impl Fn(&Kind) -> bool) -> Option<TypeId> {
        self.named(name).find(|(_, ty)| accept(&ty.kind)).map(|(id, _)| id)
    }

    /// The struct with that name.
    pub fn find_struct(&self, name: &str) -> Option<(TypeId, &Composite)> {
        self.named(name).find_map(|(id, ty)| match &ty.kind {
            Kind::Struct(composite) => Some((id, composite)),
            _ => None,
        })
    }

    /// The function with that name.
    pub fn find_func(&self, name: &str) -> Option<TypeId> {
        self.find(name, |kind| matches!(kind, Kind::Func { .. }))
    }

    /// The variables of the section with that name.
    pub fn find_datasec(&self, section: &str) -> Option<&[DatasecVar]> {
        self.named(section).find_map(|(_, ty)| match ty.kind {
            Kind::Datasec { vars, .. } => Some(self.datasec_vars(vars)),
            _ => None,
        })
    }

    /// The text of the declaration tags on a type, or on one of its members or parameters.
    pub fn decl_tags(&self, on: TypeId, on_component: Option<u32>) -> impl Iterator<Item = &str> {
        self.types.iter().filter_map(move |ty| match ty.kind {
            Kind::DeclTag { target, component } if target == on && component == on_component => {
                Some(self.str(ty.name))
            }
            _ => None,
        })
    }

    pub(crate) fn index_names(&mut self) {
        self.by_name = NameIndex::new(self.types.iter().map(|ty| self.str(ty.name)));
    }
}
