//! What a module may put into the log.
//!
//! Must never be heard by the tests beside it: it asks for its own words.

use super::*;
use crate::heard::Heard;

#[tokio::test]
async fn lines_have_their_level_and_an_end() {
    let heard = Heard::default();
    tracing::subscriber::set_global_default(heard.clone()).unwrap();
    let levels = "(call $log (i32.const -1) (i32.const 0) (i32.const 6)) (call $log (i32.const 1) (i32.const 0) (i32.const 6)) \
                  (call $log (i32.const 3) (i32.const 0) (i32.const 6)) (call $log (i32.const 2) (i32.const 0) (i32.const 60000)) \
                  (i32.store (i32.const 0) (call $log_enabled (i32.const 0))) (call $write_body (i32.const 1) (i32.const 0) (i32.const 4))";
    let data = "(data (i32.const 0) \"module\")";
    let text = asking(levels).replacen("(memory", &format!("{data} (memory"), 1);
    assert_eq!(told(&text, &[]).await.body()[..], 1_i32.to_le_bytes());
    let lines = heard.lines();
    let mine: Vec<&String> = lines.iter().filter(|line| line.contains("module")).collect();
    assert_eq!(mine[..2], ["DEBUGmodule", "WARNmodule"], "{mine:?}");
    assert!(mine.len() == 3 && mine[2].starts_with("ERRORmodule") && mine[2].len() <= "ERROR".len() + 4096);
    let piece = opened(
        &asking("(call $log (i32.const 2) (i32.const 65535) (i32.const 2))"),
        &[],
    )
    .await
    .unwrap();
    let error = judged(&piece, &mut request(), &mut Bytes::new()).await.err().unwrap();
    assert!(error.to_string().contains("out of bounds"), "{error}");
}
