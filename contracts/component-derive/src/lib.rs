//! `#[derive(ComponentMetadata)]`: from one struct to a metadata schema and its parser.
//!
//! The one idea: the struct is the only place where a field is described. Name (camelCase of the identifier unless
//! given), type, default, aliases and secrecy come from it; the description is its doc comment, and a field without one
//! does not compile. A sensitive field must be a `SecretString` (or an `Option` of it), so that no Debug can print it.
//! This crate only writes code; it must never contain behaviour of its own.
//!
//! Attributes of a field, all optional: `#[metadata(name = "redisHost", alias = "host", default = "node",
//! allowed = "node", allowed = "cluster", required, sensitive)]`; `alias` and `allowed` may be repeated.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, Lit, LitStr, Meta, Type, parse_macro_input};

/// Implements `palladium_component::ComponentMetadata` for a struct with named fields.
#[proc_macro_derive(ComponentMetadata, attributes(metadata))]
pub fn derive(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<Tokens, Error> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "metadata is a struct"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(
            &input.ident,
            "metadata is a struct with named fields",
        ));
    };
    let name = &input.ident;
    let specs = fields.named.iter().map(field_spec).collect::<Result<Vec<_>, _>>()?;
    let reads = fields.named.iter().enumerate().map(|(index, field)| {
        let ident = &field.ident;
        quote!(#ident: ::palladium_component::metadata::read_field(&specs[#index], properties)?)
    });
    Ok(quote! {
        impl ::palladium_component::metadata::ComponentMetadata for #name {
            fn fields() -> ::std::vec::Vec<::palladium_component::metadata::FieldSpec> {
                ::std::vec![#(#specs),*]
            }
            fn parse(
                properties: &::palladium_component::metadata::Properties,
            ) -> ::std::result::Result<Self, ::palladium_component::metadata::MetadataError> {
                let specs = <Self as ::palladium_component::metadata::ComponentMetadata>::fields();
                ::std::result::Result::Ok(Self { #(#reads),* })
            }
        }
    })
}

#[derive(Default)]
struct Attributes {
    name: Option<String>,
    aliases: Vec<LitStr>,
    default: Option<LitStr>,
    allowed: Vec<LitStr>,
    required: bool,
    sensitive: bool,
}

fn field_spec(field: &Field) -> Result<Tokens, Error> {
    let ident = field
        .ident
        .as_ref()
        .ok_or_else(|| Error::new_spanned(field, "the field needs a name"))?;
    let attributes = attributes(field)?;
    let name = attributes.name.unwrap_or_else(|| camel_case(&ident.to_string()));
    let secret = mentions_secret(&field.ty);
    if attributes.sensitive != secret {
        return Err(Error::new_spanned(
            &field.ty,
            "a field is `sensitive` exactly when its type is SecretString or Option<SecretString>",
        ));
    }
    let description = documentation(field);
    if description.is_empty() {
        return Err(Error::new_spanned(
            ident,
            "the doc comment is the field's description in the catalog: write one",
        ));
    }
    let (aliases, allowed, sensitive, ty) = (
        &attributes.aliases,
        &attributes.allowed,
        attributes.sensitive,
        &field.ty,
    );
    let (default, has_default) = match &attributes.default {
        Some(text) => (quote!(::std::option::Option::Some(#text)), true),
        None => (quote!(::std::option::Option::None), false),
    };
    let forced = attributes.required;
    Ok(quote! {
        ::palladium_component::metadata::FieldSpec {
            name: #name,
            aliases: &[#(#aliases),*],
            kind: <#ty as ::palladium_component::metadata::FieldType>::KIND,
            required: #forced || (!#has_default && !<#ty as ::palladium_component::metadata::FieldType>::OPTIONAL),
            sensitive: #sensitive,
            default: #default,
            allowed: &[#(#allowed),*],
            description: #description,
        }
    })
}

fn attributes(field: &Field) -> Result<Attributes, Error> {
    let mut found = Attributes::default();
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("metadata"))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("required") {
                found.required = true;
            } else if meta.path.is_ident("sensitive") {
                found.sensitive = true;
            } else if meta.path.is_ident("name") {
                found.name = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.path.is_ident("default") {
                found.default = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("alias") {
                found.aliases.push(meta.value()?.parse()?);
            } else if meta.path.is_ident("allowed") {
                found.allowed.push(meta.value()?.parse()?);
            } else {
                return Err(meta.error("expected name, alias, default, allowed, required or sensitive"));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn documentation(field: &Field) -> String {
    let lines = field.attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_string()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ").trim().to_string()
}

fn mentions_secret(ty: &Type) -> bool {
    quote!(#ty).to_string().contains("SecretString")
}

fn camel_case(ident: &str) -> String {
    let mut name = String::with_capacity(ident.len());
    let mut upper = false;
    for c in ident.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            name.extend(c.to_uppercase());
            upper = false;
        } else {
            name.push(c);
        }
    }
    name
}
