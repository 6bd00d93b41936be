use proc_macro2::TokenStream;
use quote::quote;

use super::expand;

/// Asserts what a type expands to; spaces do not count.
#[track_caller]
fn check(input: TokenStream, expected: TokenStream) {
    let input = syn::parse2(input).unwrap();
    assert_eq!(expand(&input).unwrap().to_string(), expected.to_string());
}

/// Asserts the text of every error, in order.
#[track_caller]
fn check_errors(input: TokenStream, expected: &[&str]) {
    let input = syn::parse2(input).unwrap();
    let error = expand(&input).expect_err("this type should be refused");
    let texts: Vec<String> = error.into_iter().map(|e| e.to_string()).collect();
    assert_eq!(texts, expected);
}

/// Asserts the `where` clause of the implementation.
#[track_caller]
fn check_bounds(input: TokenStream, expected: TokenStream) {
    let input = syn::parse2(input).unwrap();
    let found = expand(&input).unwrap().to_string();
    let (header, _) = found.split_once(" { fn flatten").unwrap();
    let (_, bounds) = header.split_once(" where ").unwrap();
    assert_eq!(format!("where {bounds}"), expected.to_string());
}

#[test]
fn a_struct_with_named_fields() {
    check(
        quote! {
            pub struct Linear {
                weight: Array,
                #[pytree(meta)]
                r#type: usize,
                bias: Option<Array>,
            }
        },
        quote! {
            #[automatically_derived]
            impl ::quaxide::tree::PyTree for Linear {
                fn flatten(&self, out: &mut ::quaxide::tree::Flat<'_>) {
                    out.node("Linear");
                    out.child("weight", &self.weight);
                    out.meta("type", &self.r#type);
                    out.child("bias", &self.bias);
                }

                fn unflatten(&self, leaves: &mut ::quaxide::tree::Leaves<'_>) -> Self {
                    if let ::core::option::Option::Some(new) = leaves.replacement(self) {
                        return new;
                    }
                    Self {
                        weight: ::quaxide::tree::PyTree::unflatten(&self.weight, leaves),
                        r#type: ::core::clone::Clone::clone(&self.r#type),
                        bias: ::quaxide::tree::PyTree::unflatten(&self.bias, leaves),
                    }
                }
            }
        },
    );
}

#[test]
fn a_tuple_struct_and_a_crate_path() {
    check(
        quote! {
            #[pytree(crate = "crate::inner")]
            struct Pair(Array, #[pytree(meta)] u8);
        },
        quote! {
            #[automatically_derived]
            impl crate::inner::tree::PyTree for Pair {
                fn flatten(&self, out: &mut crate::inner::tree::Flat<'_>) {
                    out.node("Pair");
                    out.child("0", &self.0);
                    out.meta("1", &self.1);
                }

                fn unflatten(&self, leaves: &mut crate::inner::tree::Leaves<'_>) -> Self {
                    if let ::core::option::Option::Some(new) = leaves.replacement(self) {
                        return new;
                    }
                    Self(
                        crate::inner::tree::PyTree::unflatten(&self.0, leaves),
                        ::core::clone::Clone::clone(&self.1),
                    )
                }
            }
        },
    );
}

#[test]
fn a_unit_struct() {
    check(
        quote!(
            struct Nothing;
        ),
        quote! {
            #[automatically_derived]
            impl ::quaxide::tree::PyTree for Nothing {
                fn flatten(&self, out: &mut ::quaxide::tree::Flat<'_>) {
                    out.node("Nothing");
                }

                fn unflatten(&self, leaves: &mut ::quaxide::tree::Leaves<'_>) -> Self {
                    if let ::core::option::Option::Some(new) = leaves.replacement(self) {
                        return new;
                    }
                    Self
                }
            }
        },
    );
}

#[test]
fn an_enum() {
    check(
        quote! {
            enum Layer<T> {
                Scale { by: T, #[pytree(meta)] axis: usize },
                Both(Box<Layer<T>>, Box<Layer<T>>),
                Identity,
            }
        },
        quote! {
            #[automatically_derived]
            impl<T> ::quaxide::tree::PyTree for Layer<T>
            where
                T: ::quaxide::tree::PyTree
            {
                fn flatten(&self, out: &mut ::quaxide::tree::Flat<'_>) {
                    match self {
                        Self::Scale { by: field0, axis: field1, } => {
                            out.node("Layer::Scale");
                            out.child("by", field0);
                            out.meta("axis", field1);
                        }
                        Self::Both(field0, field1,) => {
                            out.node("Layer::Both");
                            out.child("0", field0);
                            out.child("1", field1);
                        }
                        Self::Identity => {
                            out.node("Layer::Identity");
                        }
                    }
                }

                fn unflatten(&self, leaves: &mut ::quaxide::tree::Leaves<'_>) -> Self {
                    if let ::core::option::Option::Some(new) = leaves.replacement(self) {
                        return new;
                    }
                    match self {
                        Self::Scale { by: field0, axis: field1, } => Self::Scale {
                            by: ::quaxide::tree::PyTree::unflatten(field0, leaves),
                            axis: ::core::clone::Clone::clone(field1),
                        },
                        Self::Both(field0, field1,) => Self::Both(
                            ::quaxide::tree::PyTree::unflatten(field0, leaves),
                            ::quaxide::tree::PyTree::unflatten(field1, leaves),
                        ),
                        Self::Identity => Self::Identity,
                    }
                }
            }
        },
    );
}

#[test]
fn an_enum_without_variants() {
    let input = syn::parse_quote!(
        enum Never {}
    );
    let found = expand(&input).unwrap().to_string();
    let body = quote!(match *self {}).to_string();
    assert_eq!(found.matches(&body).count(), 2, "{found}");
}

#[test]
fn parameters_are_bounded_by_their_use() {
    check_bounds(
        quote! {
            struct S<A, B: Copy, C, D, E, const N: usize> where A: Display {
                a: Vec<[A; N]>,
                #[pytree(meta)] b: Option<B>,
                c: C,
                #[pytree(meta)] also_c: C,
                d: std::marker::PhantomData<D>,
            }
        },
        quote! {
            where
                A: Display,
                A: ::quaxide::tree::PyTree,
                B: ::quaxide::tree::Meta + ::core::clone::Clone,
                C: ::quaxide::tree::PyTree,
                C: ::quaxide::tree::Meta + ::core::clone::Clone,
                D: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
                E: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static
        },
    );
}

#[test]
fn a_type_that_a_parameter_brings_is_bounded_itself() {
    check_bounds(
        quote!(
            struct S<L: Layer> {
                parameters: Vec<L::Parameters>,
                more: L::Parameters,
                state: <L as Layer>::State,
                #[pytree(meta)]
                config: L::Config,
            }
        ),
        quote! {
            where
                L: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
                L::Parameters: ::quaxide::tree::PyTree,
                <L as Layer>::State: ::quaxide::tree::PyTree,
                L::Config: ::quaxide::tree::Meta + ::core::clone::Clone
        },
    );
}

#[test]
fn what_cannot_be_a_tree_is_refused() {
    check_errors(
        quote!(
            union Bits {
                a: u32,
                b: f32,
            }
        ),
        &["a union is no tree, since which of its fields it holds cannot be seen: use an enum"],
    );
    check_errors(
        quote!(
            struct View<'a> {
                array: &'a Array,
            }
        ),
        &[
            "a tree owns what it holds, so it has no lifetime: hold the data itself, an `Arc` of it, or `&'static`",
        ],
    );
}

#[test]
fn misplaced_attributes_are_refused_all_at_once() {
    check_errors(
        quote! {
            #[pytree(meta)]
            enum E {
                #[pytree(meta)]
                A(#[pytree(static)] Array),
                #[pytree(skip)]
                B { #[pytree(meta, meta)] x: Array, #[pytree(crate = "a")] y: Array },
            }
        },
        &[
            "`meta` belongs on a field: `#[pytree(meta)]` in front of each field that holds no arrays",
            "`meta` belongs on the fields of the variant; which variant it is, is part of the structure anyway",
            "unknown attribute; a field takes `#[pytree(meta)]`",
            "unknown attribute; a variant takes none",
            "the field is marked `meta` twice",
            "unknown attribute; a field takes `#[pytree(meta)]`",
        ],
    );
    check_errors(
        quote! {
            #[pytree(krate = "a")]
            #[pytree(crate = "a", crate = "b")]
            struct S;
        },
        &[
            "unknown attribute; a type takes `#[pytree(crate = \"…\")]`",
            "the crate's path is given twice",
        ],
    );
}

#[test]
fn malformed_attributes_are_refused() {
    for attribute in [
        quote!(#[pytree]),
        quote!(#[pytree = "meta"]),
        quote!(#[pytree("meta")]),
        quote!(#[pytree(meta = true)]),
    ] {
        let input = syn::parse_quote!(struct S { #attribute x: Array });
        assert!(expand(&input).is_err(), "{attribute}");
    }
    for value in [quote!(= a), quote!(= "a b"), quote!()] {
        let input = syn::parse_quote!(
            #[pytree(crate #value)]
            struct S;
        );
        assert!(expand(&input).is_err(), "{value}");
    }
}
