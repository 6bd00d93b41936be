//! What the type parameters of a derived implementation must be.
//!
//! A bound on each field's whole type would say exactly what is needed, but a type that contains itself
//! (`Branch(Box<Tree<T>>)`) would then need itself to be a tree already, and private types would show in public
//! bounds. So the bounds are on the parameters, as the standard library's derives have them.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::{
    Generics, Ident, Path, Type, TypePath, WherePredicate, parse_quote,
    visit::{self, Visit},
};

/// The generics of the implementation, for field types with whether each is `meta`.
pub fn bounded<'a>(
    generics: &Generics,
    krate: &Path,
    fields: impl Iterator<Item = (&'a Type, bool)> + Clone,
) -> Generics {
    let parameters: Vec<&Ident> = generics.type_params().map(|p| &p.ident).collect();
    let mut children = Uses::of(&parameters);
    let mut metas = Uses::of(&parameters);
    for (ty, meta) in fields {
        let uses = if meta { &mut metas } else { &mut children };
        uses.visit_type(ty);
    }

    let mut predicates: Vec<WherePredicate> = Vec::new();
    for (i, parameter) in parameters.iter().enumerate() {
        let (child, meta) = (children.plain[i], metas.plain[i]);
        if child {
            predicates.push(parse_quote!(#parameter: #krate::tree::PyTree));
        }
        if meta {
            predicates.push(parse_quote!(#parameter: #krate::tree::Meta + ::core::clone::Clone));
        }
        if !child && !meta {
            predicates.push(parse_quote! {
                #parameter: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static
            });
        }
    }
    for path in children.associated {
        predicates.push(parse_quote!(#path: #krate::tree::PyTree));
    }
    for path in metas.associated {
        predicates.push(parse_quote!(#path: #krate::tree::Meta + ::core::clone::Clone));
    }

    let mut generics = generics.clone();
    if !predicates.is_empty() {
        generics.make_where_clause().predicates.extend(predicates);
    }
    generics
}

/// How types mention the parameters: `T` itself, and the types that `T` brings with it, such as `T::Item`.
struct Uses<'a, 'p> {
    parameters: &'a [&'p Ident],
    plain: Vec<bool>,
    associated: Vec<TypePath>,
    /// The text of each of `associated`, which is there once.
    seen: BTreeSet<String>,
}

impl<'a, 'p> Uses<'a, 'p> {
    fn of(parameters: &'a [&'p Ident]) -> Self {
        Uses {
            parameters,
            plain: vec![false; parameters.len()],
            associated: Vec::new(),
            seen: BTreeSet::new(),
        }
    }
}

impl<'ast> Visit<'ast> for Uses<'_, '_> {
    fn visit_type_path(&mut self, path: &'ast TypePath) {
        let segments = &path.path.segments;
        let owner = match &path.qself {
            // `<T as Layer>::Parameters`
            Some(qself) => match &*qself.ty {
                Type::Path(owner) => owner.path.get_ident(),
                _ => None,
            },
            // `T::Parameters`
            None if segments.len() > 1 => segments.first().map(|first| &first.ident),
            None => None,
        };
        if owner.is_some_and(|owner| self.parameters.contains(&owner)) {
            let text = path.to_token_stream().to_string();
            if self.seen.insert(text) {
                self.associated.push(path.clone());
            }
            return;
        }
        visit::visit_type_path(self, path);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        // A `PhantomData` is hashable whatever it is about.
        let last = path.segments.last();
        if last.is_some_and(|segment| segment.ident == "PhantomData") {
            return;
        }
        if let Some(ident) = path.get_ident()
            && let Some(i) = self.parameters.iter().position(|p| *p == ident)
        {
            self.plain[i] = true;
        }
        visit::visit_path(self, path);
    }
}
