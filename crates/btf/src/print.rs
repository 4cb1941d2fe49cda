//! Types as C declarations.
//!
//! A declarator is built from the inside out: each type of the chain wraps the text so far, as
//! in `(*name)[4]`. Depth and amount of output are bounded, since types may be nested without
//! end; what is left out shows as `...`.

use alloc::format;
use alloc::string::{String, ToString};

use crate::parse::Btf;
use crate::types::{Composite, Enum, Kind, Linkage, List, Param, TypeId};

/// How deep types are nested before the rest is left out.
const MAX_DEPTH: u32 = 40;

/// How many types and members one declaration shows before the rest is left out.
const MAX_PARTS: u32 = 20_000;

impl Btf {
    /// The declaration of something of a type: `int (*next)(struct node *)` for a pointer to a
    /// function and the name `next`. With an empty name, the type itself: `int (*)(...)`. Named
    /// structs, unions and enumerations appear by name.
    pub fn declaration(&self, id: TypeId, name: &str) -> String {
        Printer { btf: self, parts: MAX_PARTS }.declare(id, name.to_string(), 0, MAX_DEPTH)
    }

    /// The definition of a type as a C statement: the members of a struct, the enumerators of an
    /// enumeration, `typedef ...;`, the prototype of a function, the declaration of a variable,
    /// or those of all variables of a section.
    pub fn definition(&self, id: TypeId) -> String {
        let mut printer = Printer { btf: self, parts: MAX_PARTS };
        let name = self.name(id);
        match self.kind(id) {
            Kind::Struct(composite) => {
                format!("{};", printer.composite("struct", name, composite, 0, MAX_DEPTH))
            }
            Kind::Union(composite) => {
                format!("{};", printer.composite("union", name, composite, 0, MAX_DEPTH))
            }
            Kind::Enum(enumeration) | Kind::Enum64(enumeration) => {
                format!("{};", printer.enumeration(name, enumeration, 0))
            }
            Kind::Typedef(to) => {
                format!("typedef {};", printer.declare(*to, name.to_string(), 0, MAX_DEPTH))
            }
            Kind::Func { .. } | Kind::Var { .. } => printer.variable(id),
            Kind::Datasec { vars, .. } => {
                let mut text = String::new();
                for var in self.datasec_vars(*vars) {
                    if !printer.spend() {
                        text.push_str("...\n");
                        break;
                    }
                    text.push_str(&printer.variable(var.ty));
                    text.push('\n');
                }
                text.truncate(text.trim_end().len());
                text
            }
            _ => format!("{};", printer.declare(id, String::new(), 0, MAX_DEPTH)),
        }
    }
}

fn storage(linkage: Linkage) -> &'static str {
    match linkage {
        Linkage::Static => "static ",
        Linkage::Extern => "extern ",
        Linkage::Global | Linkage::Other(_) => "",
    }
}

struct Printer<'a> {
    btf: &'a Btf,
    parts: u32,
}

impl Printer<'_> {
    /// Whether another part may be shown.
    fn spend(&mut self) -> bool {
        self.parts = self.parts.saturating_sub(1);
        self.parts > 0
    }

    /// The declaration of a variable or function as a statement.
    fn variable(&mut self, id: TypeId) -> String {
        let storage = match self.btf.kind(id) {
            Kind::Func { linkage, .. } | Kind::Var { linkage, .. } => storage(*linkage),
            _ => "",
        };
        let name = self.btf.name(id).to_string();
        format!("{storage}{};", self.declare(id, name, 0, MAX_DEPTH))
    }

    fn declare(&mut self, id: TypeId, inner: String, indent: usize, depth: u32) -> String {
        let Some(depth) = depth.checked_sub(1).filter(|_| self.spend()) else {
            return join("...", &inner);
        };
        let btf = self.btf;
        let (id, before, after) = self.qualifiers(id);
        let base = |text: String| join(&format!("{before}{text}{after}"), &inner);
        match btf.kind(id) {
            Kind::Void => base("void".to_string()),
            Kind::Int(_) | Kind::Float { .. } | Kind::Typedef(_) => base(btf.name(id).to_string()),
            Kind::Struct(composite) => {
                let text = self.named_or("struct", id, |printer| {
                    printer.composite("struct", "", composite, indent, depth)
                });
                base(text)
            }
            Kind::Union(composite) => {
                let text = self.named_or("union", id, |printer| {
                    printer.composite("union", "", composite, indent, depth)
                });
                base(text)
            }
            Kind::Enum(enumeration) | Kind::Enum64(enumeration) => {
                let text = self
                    .named_or("enum", id, |printer| printer.enumeration("", enumeration, indent));
                base(text)
            }
            Kind::Forward { union: true } => base(format!("union {}", btf.name(id))),
            Kind::Forward { union: false } => base(format!("struct {}", btf.name(id))),
            Kind::Ptr(to) => {
                let qualified = join(format!("{before}{after}").trim_end(), &inner);
                let space = if before.is_empty() && after.is_empty() { "" } else { " " };
                let pointer = format!("*{space}{qualified}");
                let pointer = match self.wraps(*to) {
                    true => format!("({pointer})"),
                    false => pointer,
                };
                self.declare(*to, pointer, indent, depth)
            }
            Kind::Array(array) => {
                let element = match array.count {
                    0 => format!("{inner}[]"),
                    count => format!("{inner}[{count}]"),
                };
                // Qualifiers of an array are those of its elements.
                let text = self.declare(array.element, element, indent, depth);
                format!("{before}{text}")
            }
            Kind::FuncProto { returns, params } => {
                let params = self.params(*params, indent, depth);
                self.declare(*returns, format!("{inner}({params})"), indent, depth)
            }
            Kind::Func { proto: to, .. } | Kind::Var { ty: to, .. } => {
                self.declare(*to, inner, indent, depth)
            }
            Kind::Datasec { .. } => base(format!("/* section {} */", btf.name(id))),
            Kind::DeclTag { .. } => base(format!("/* tag {} */", btf.name(id))),
            Kind::Const(_) | Kind::Volatile(_) | Kind::Restrict(_) | Kind::TypeTag(_) => {
                base("...".to_string())
            }
        }
    }

    /// What lies behind qualifiers and tags, the text of the qualifiers, and that of the tags.
    fn qualifiers(&self, mut id: TypeId) -> (TypeId, String, String) {
        let mut before = String::new();
        let mut after = String::new();
        for _ in 0..MAX_DEPTH {
            id = match self.btf.kind(id) {
                Kind::Const(to) => {
                    before.push_str("const ");
                    *to
                }
                Kind::Volatile(to) => {
                    before.push_str("volatile ");
                    *to
                }
                Kind::Restrict(to) => {
                    before.push_str("restrict ");
                    *to
                }
                Kind::TypeTag(to) => {
                    let tag = self.btf.name(id);
                    after.push_str(&format!(" __attribute__((btf_type_tag(\"{tag}\")))"));
                    *to
                }
                _ => break,
            };
        }
        (id, before, after)
    }

    /// Whether a pointer to the type needs parentheses.
    fn wraps(&self, id: TypeId) -> bool {
        let (id, _, _) = self.qualifiers(id);
        matches!(self.btf.kind(id), Kind::Array(_) | Kind::FuncProto { .. })
    }

    fn named_or(
        &mut self,
        keyword: &str,
        id: TypeId,
        anonymous: impl FnOnce(&mut Self) -> String,
    ) -> String {
        match self.btf.name(id) {
            "" => anonymous(self),
            name => format!("{keyword} {name}"),
        }
    }

    fn composite(
        &mut self,
        keyword: &str,
        name: &str,
        composite: &Composite,
        indent: usize,
        depth: u32,
    ) -> String {
        let mut text = format!("{} {{\n", join(keyword, name));
        for member in self.btf.members(composite) {
            tabs(&mut text, indent + 1);
            if !self.spend() {
                text.push_str("...\n");
                break;
            }
            let name = self.btf.str(member.name).to_string();
            text.push_str(&self.declare(member.ty, name, indent + 1, depth));
            if let Some(bits) = self.bit_field(member.ty, member.bit_size) {
                text.push_str(&format!(": {bits}"));
            }
            text.push_str(";\n");
        }
        tabs(&mut text, indent);
        text.push('}');
        text
    }

    /// The width of a bit-field: of the member, or (old compilers) of its integer type.
    fn bit_field(&self, ty: TypeId, bit_size: u8) -> Option<u32> {
        if bit_size != 0 {
            return Some(u32::from(bit_size));
        }
        match self.btf.kind(self.btf.resolve(ty).ok()?) {
            Kind::Int(int) if u32::from(int.bits) != int.size.saturating_mul(8) => {
                Some(u32::from(int.bits))
            }
            _ => None,
        }
    }

    fn enumeration(&mut self, name: &str, enumeration: &Enum, indent: usize) -> String {
        let mut text = format!("{} {{\n", join("enum", name));
        for value in self.btf.enum_values(enumeration) {
            tabs(&mut text, indent + 1);
            if !self.spend() {
                text.push_str("...\n");
                break;
            }
            let name = self.btf.str(value.name);
            match enumeration.signed {
                true => text.push_str(&format!("{name} = {},\n", value.value.cast_signed())),
                false => text.push_str(&format!("{name} = {},\n", value.value)),
            }
        }
        tabs(&mut text, indent);
        text.push('}');
        text
    }

    fn params(&mut self, params: List<Param>, indent: usize, depth: u32) -> String {
        let params = self.btf.params(params);
        if params.is_empty() {
            return "void".to_string();
        }
        let mut text = String::new();
        for (index, param) in params.iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            if !self.spend() {
                text.push_str("...");
                break;
            }
            let name = self.btf.str(param.name);
            match (param.ty, name) {
                (TypeId::VOID, "") => text.push_str("..."),
                _ => text.push_str(&self.declare(param.ty, name.to_string(), indent, depth)),
            }
        }
        text
    }
}

/// A type and its declarator, with a space between unless one is empty.
fn join(ty: &str, inner: &str) -> String {
    match (ty, inner) {
        (ty, "") => ty.to_string(),
        ("", inner) => inner.to_string(),
        // `void[4]` and `int()` do not occur without a name; `int (*)(void)` does.
        (ty, inner) => format!("{ty} {inner}"),
    }
}

fn tabs(text: &mut String, count: usize) {
    for _ in 0..count {
        text.push('\t');
    }
}
