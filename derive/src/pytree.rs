//! `#[derive(PyTree)]`, from the parsed type to the tokens of its implementation.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Ident, Index, Path, Result, Type,
    ext::IdentExt, spanned::Spanned,
};

use crate::attributes::{self, Errors};
use crate::bounds::bounded;

/// The implementation of `PyTree`, or everything that is wrong with the type.
pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let krate = errors.add(attributes::crate_path(input));
    for parameter in &input.generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            errors.add::<()>(Err(Error::new_spanned(
                lifetime,
                "a tree owns what it holds, so it has no lifetime: hold the data itself, an `Arc` of it, or `&'static`",
            )));
        }
    }
    let shapes = errors.add(shapes(input));
    errors.finish()?;
    let (Some(krate), Some(shapes)) = (krate, shapes) else {
        return Err(Error::new(Span::call_site(), "the type could not be read"));
    };
    Ok(implementation(input, &krate, &shapes))
}

/// A struct or a variant: its name in the structure, and its fields.
struct Shape<'a> {
    /// `"Linear"`, or `"Activation::Relu"`.
    name: String,
    /// The variant, if it is one.
    variant: Option<&'a Ident>,
    fields: Vec<Member<'a>>,
    /// What the fields are enclosed by.
    style: &'a Fields,
}

/// A field as the implementation names it.
struct Member<'a> {
    /// `weight`, or `0`.
    member: TokenStream,
    /// The variable that a pattern binds it to.
    variable: Ident,
    /// Its label in a path.
    label: String,
    ty: &'a Type,
    meta: bool,
}

/// The struct, or the variants.
fn shapes(input: &DeriveInput) -> Result<Vec<Shape<'_>>> {
    let name = input.ident.unraw();
    let mut errors = Errors::default();
    let mut shapes = Vec::new();
    match &input.data {
        Data::Struct(data) => {
            let fields = errors.add(members(&data.fields));
            shapes.extend(fields.map(|fields| Shape {
                name: name.to_string(),
                variant: None,
                fields,
                style: &data.fields,
            }));
        }
        Data::Enum(data) => {
            for variant in &data.variants {
                errors.add(attributes::check_variant(variant));
                let fields = errors.add(members(&variant.fields));
                shapes.extend(fields.map(|fields| Shape {
                    name: format!("{name}::{}", variant.ident.unraw()),
                    variant: Some(&variant.ident),
                    fields,
                    style: &variant.fields,
                }));
            }
        }
        Data::Union(data) => {
            errors.add::<()>(Err(Error::new_spanned(
                data.union_token,
                "a union is no tree, since which of its fields it holds cannot be seen: use an enum",
            )));
        }
    }
    errors.finish()?;
    Ok(shapes)
}

fn members(fields: &Fields) -> Result<Vec<Member<'_>>> {
    let mut errors = Errors::default();
    let mut members = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let meta = errors.add(attributes::is_meta(field)).unwrap_or(false);
        let (member, label) = match &field.ident {
            Some(ident) => (quote!(#ident), ident.unraw().to_string()),
            None => {
                let index = Index::from(i);
                (quote!(#index), i.to_string())
            }
        };
        members.push(Member {
            member,
            // At the macro's own place, so that no constant of the user's can be taken for it.
            variable: format_ident!("field{i}", span = Span::mixed_site()),
            label,
            ty: &field.ty,
            meta,
        });
    }
    errors.finish()?;
    Ok(members)
}

fn implementation(input: &DeriveInput, krate: &Path, shapes: &[Shape]) -> TokenStream {
    let ident = &input.ident;
    let types = shapes.iter().flat_map(|shape| &shape.fields);
    let generics = bounded(
        &input.generics,
        krate,
        types.map(|field| (field.ty, field.meta)),
    );
    let (for_impl, for_type, where_clause) = generics.split_for_impl();
    let out = Ident::new("out", Span::mixed_site());
    let leaves = Ident::new("leaves", Span::mixed_site());
    let new = Ident::new("new", Span::mixed_site());
    let (flatten, unflatten) = match (&input.data, shapes) {
        (Data::Enum(_), []) => (quote!(let _ = #out; match *self {}), quote!(match *self {})),
        (Data::Enum(_), shapes) => {
            let patterns: Vec<_> = shapes.iter().map(pattern).collect();
            let flatten = shapes.iter().map(|shape| visit(shape, &out));
            let unflatten = shapes.iter().map(|shape| rebuild(shape, krate, &leaves));
            (
                quote!(match self { #(#patterns => { #flatten })* }),
                quote!(match self { #(#patterns => #unflatten,)* }),
            )
        }
        (_, shapes) => (
            shapes.iter().map(|shape| visit(shape, &out)).collect(),
            shapes
                .iter()
                .map(|shape| rebuild(shape, krate, &leaves))
                .collect(),
        ),
    };
    quote! {
        #[automatically_derived]
        impl #for_impl #krate::tree::PyTree for #ident #for_type #where_clause {
            fn flatten(&self, #out: &mut #krate::tree::Flat<'_>) {
                #flatten
            }

            fn unflatten(&self, #leaves: &mut #krate::tree::Leaves<'_>) -> Self {
                if let ::core::option::Option::Some(#new) = #leaves.replacement(self) {
                    return #new;
                }
                #unflatten
            }
        }
    }
}

/// `out.node("Linear"); out.child("weight", &self.weight); …`
fn visit(shape: &Shape, out: &Ident) -> TokenStream {
    let name = &shape.name;
    let fields = shape.fields.iter().map(|field| {
        let label = &field.label;
        let method = if field.meta {
            quote!(meta)
        } else {
            quote!(child)
        };
        let place = place(shape, field);
        // What is wrong with a field's type is shown at the field.
        quote_spanned!(at(field)=> #out.#method(#label, #place);)
    });
    quote!(#out.node(#name); #(#fields)*)
}

/// `Self { weight: PyTree::unflatten(&self.weight, leaves), … }`
fn rebuild(shape: &Shape, krate: &Path, leaves: &Ident) -> TokenStream {
    let values = shape.fields.iter().map(|field| {
        let place = place(shape, field);
        if field.meta {
            quote_spanned!(at(field)=> ::core::clone::Clone::clone(#place))
        } else {
            quote_spanned!(at(field)=> #krate::tree::PyTree::unflatten(#place, #leaves))
        }
    });
    let variant = shape.variant.map(|variant| quote!(::#variant));
    match shape.style {
        Fields::Named(_) => {
            let names = shape.fields.iter().map(|field| &field.member);
            quote!(Self #variant { #(#names: #values,)* })
        }
        Fields::Unnamed(_) => quote!(Self #variant (#(#values,)*)),
        Fields::Unit => quote!(Self #variant),
    }
}

/// `Self::Branch { left: field0, right: field1 }`
fn pattern(shape: &Shape) -> TokenStream {
    let variant = shape.variant.map(|variant| quote!(::#variant));
    let variables = shape.fields.iter().map(|field| &field.variable);
    match shape.style {
        Fields::Named(_) => {
            let names = shape.fields.iter().map(|field| &field.member);
            quote!(Self #variant { #(#names: #variables,)* })
        }
        Fields::Unnamed(_) => quote!(Self #variant (#(#variables,)*)),
        Fields::Unit => quote!(Self #variant),
    }
}

/// A reference to the field: `&self.weight`, or what a variant's pattern bound.
fn place(shape: &Shape, field: &Member) -> TokenStream {
    let (member, variable) = (&field.member, &field.variable);
    match shape.variant {
        Some(_) => quote!(#variable),
        None => quote_spanned!(at(field)=> &self.#member),
    }
}

/// The field's type as the place of an error; names mean there what they mean in the rest of the expansion.
fn at(field: &Member) -> Span {
    field.ty.span().resolved_at(Span::call_site())
}

#[cfg(test)]
mod tests;
