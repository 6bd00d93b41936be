//! The `#[pytree(…)]` attributes of a type, of its variants and of its fields.

use syn::{
    Attribute, DeriveInput, Error, Field, LitStr, Path, Result, Variant, meta::ParseNestedMeta,
};

/// The path of the crate that holds the traits: `::quaxide`, unless `#[pytree(crate = "…")]` says otherwise.
pub fn crate_path(input: &DeriveInput) -> Result<Path> {
    let mut found = None;
    each(&input.attrs, |item| {
        if item.path.is_ident("crate") {
            let path = item.value()?.parse::<LitStr>()?.parse::<Path>()?;
            return match found.replace(path) {
                None => Ok(()),
                Some(_) => Err(item.error("the crate's path is given twice")),
            };
        }
        Err(item.error(if item.path.is_ident("meta") {
            "`meta` belongs on a field: `#[pytree(meta)]` in front of each field that holds no arrays"
        } else {
            "unknown attribute; a type takes `#[pytree(crate = \"…\")]`"
        }))
    })?;
    Ok(found.unwrap_or_else(|| syn::parse_quote!(::quaxide)))
}

/// A variant takes no attribute.
pub fn check_variant(variant: &Variant) -> Result<()> {
    each(&variant.attrs, |item| {
        Err(item.error(if item.path.is_ident("meta") {
            "`meta` belongs on the fields of the variant; which variant it is, is part of the structure anyway"
        } else {
            "unknown attribute; a variant takes none"
        }))
    })
}

/// Whether a field is marked `#[pytree(meta)]`.
pub fn is_meta(field: &Field) -> Result<bool> {
    let mut meta = false;
    each(&field.attrs, |item| {
        if !item.path.is_ident("meta") {
            return Err(item.error("unknown attribute; a field takes `#[pytree(meta)]`"));
        }
        match std::mem::replace(&mut meta, true) {
            false => Ok(()),
            true => Err(item.error("the field is marked `meta` twice")),
        }
    })?;
    Ok(meta)
}

/// Runs `take` on every item of every `#[pytree(…)]`, and joins the errors of several attributes.
fn each(attrs: &[Attribute], mut take: impl FnMut(ParseNestedMeta) -> Result<()>) -> Result<()> {
    let mut errors = Errors::default();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("pytree")) {
        errors.add(attr.parse_nested_meta(&mut take));
    }
    errors.finish()
}

/// Gathers errors, so that one compilation shows all of them.
#[derive(Default)]
pub struct Errors(Option<Error>);

impl Errors {
    /// Keeps an error; gives back a success.
    pub fn add<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                match &mut self.0 {
                    Some(all) => all.combine(error),
                    None => self.0 = Some(error),
                }
                None
            }
        }
    }

    /// The errors so far, if any.
    pub fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
