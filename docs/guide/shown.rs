// An error's text as the guide shows it. The place in the file is cut short: it is another in each copy of the code.
|e: quaxide::Error| -> String {
    let text = e.to_string();
    let cut = |line: &str| match line.starts_with("  --> ") {
        true => "  --> src/main.rs:…".to_string(),
        false => line.to_string(),
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}
