// A callable plugin in Rust, of the standard library only; serde_json reads JSON better.
//     rustc --target wasm32-wasip1 -O -o plugin.wasm plugin.rs
use std::io::{self, BufRead, Write};

// The text of a string as JSON has it, still escaped: it is put into JSON again.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let key = format!("\"{}\":\"", name);
    let from = match line.find(&key) {
        Some(at) => &line[at + key.len()..],
        None => return "",
    };
    let mut escaped = false;
    let end = from.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    &from[..end.unwrap_or(0)]
}

fn main() -> io::Result<()> {
    eprintln!("ready"); // the plugin's log
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let id = field(&line, "id");
        match field(&line, "command") {
            "greet" => writeln!(out, "{{\"id\":\"{}\",\"result\":{{\"greeting\":\"hello {}\"}}}}", id, field(&line, "name"))?,
            "count" => {
                let digits = line.split("\"n\":").nth(1).unwrap_or("").trim_start();
                let n: u32 = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("").parse().unwrap_or(0);
                for i in 1..=n {
                    writeln!(out, "{{\"id\":\"{}\",\"output\":{}}}", id, i)?;
                }
                writeln!(out, "{{\"id\":\"{}\",\"result\":{}}}", id, n)?
            }
            "" => (), // a cancel: what is asked for here is over soon
            _ => writeln!(out, "{{\"id\":\"{}\",\"error\":\"there is no such command\"}}", id)?,
        }
        out.flush()?;
    }
    Ok(())
}
