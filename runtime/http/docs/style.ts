/**
 * How the page looks: one column of text beside its contents, light or dark as the reader's system is.
 */
export const STYLE = `
:root{color-scheme:light dark;--text:#1f2328;--soft:#59636e;--line:#d8dee4;--page:#fff;--panel:#f6f8fa;--link:#0757b3;
--get:#0a6b3d;--post:#0757b3;--options:#7a4b00;--note:#fff6dc;--mark:#9a3412}
@media(prefers-color-scheme:dark){:root{--text:#e6e8eb;--soft:#9aa4af;--line:#30363d;--page:#111418;--panel:#191e24;--link:#7db7ff;
--get:#63d297;--post:#7db7ff;--options:#e2b25c;--note:#2c2610;--mark:#f4a06b}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0;color:var(--text);background:var(--page);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
code,pre,.path,.key,.type{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.875em}
.frame{display:grid;grid-template-columns:17rem minmax(0,1fr);max-width:78rem;margin:0 auto}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:2rem 1rem 2rem 1.5rem;border-right:1px solid var(--line);font-size:.875rem}
nav h2{margin:1.25rem 0 .25rem;font-size:.75rem;letter-spacing:.04em;color:var(--soft)}
nav ul{list-style:none;margin:0;padding:0}nav li{margin:0}
nav a{display:block;padding:.15rem 0;color:var(--text);overflow-wrap:anywhere}
nav li a{display:flex;line-height:1.4}
nav b{flex:none;width:2.9rem;padding-top:.1rem;font-size:.6875rem;text-transform:uppercase;color:var(--get)}
nav .post b{color:var(--post)}nav .options b{color:var(--options)}
nav .off a,nav .off b{color:var(--soft)}
main{padding:2rem 2.5rem 6rem;min-width:0}
h1{margin:0;font-size:1.75rem;line-height:1.25;overflow-wrap:anywhere}
h2{margin:3rem 0 .25rem;font-size:1.25rem}
h3{margin:1.5rem 0 .4rem;font-size:.8125rem;color:var(--soft);font-weight:600}
p{margin:.5rem 0;max-width:46rem}
.lead{color:var(--soft)}
details.op{border:1px solid var(--line);border-radius:8px;margin:.6rem 0;background:var(--page)}
details.op>summary{display:flex;gap:.75rem;align-items:baseline;padding:.6rem .9rem;cursor:pointer;list-style:none;flex-wrap:wrap}
details.op>summary::-webkit-details-marker{display:none}
details.op[open]>summary{border-bottom:1px solid var(--line)}
summary:focus-visible,a:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:6px}
.method{flex:none;width:4.2rem;font-size:.75rem;font-weight:700;color:var(--get)}
.post .method{color:var(--post)}.options .method{color:var(--options)}
.path{overflow-wrap:anywhere;font-weight:600}
.summary{color:var(--soft);margin-left:auto;text-align:right}
.old .path{text-decoration:line-through;text-decoration-color:var(--soft)}
.off>summary .path,.off>summary .method{color:var(--soft)}
.inside{padding:.25rem .9rem 1.1rem}
.more{margin:.75rem 0 0;font-size:.9375rem}.more>summary{cursor:pointer;color:var(--soft);font-size:.8125rem}
.note{background:var(--note);border-radius:6px;padding:.5rem .75rem;max-width:46rem}
pre{margin:.4rem 0;padding:.75rem .9rem;background:var(--panel);border:1px solid var(--line);border-radius:6px;overflow:auto;line-height:1.45;max-height:26rem}
p code,li code,td code{background:var(--panel);border-radius:4px;padding:.1em .3em}
table{border-collapse:collapse;width:100%;font-size:.9375rem}
td{padding:.4rem .75rem .4rem 0;vertical-align:top;border-top:1px solid var(--line)}
td p{margin:0}td:first-child{width:13rem;overflow-wrap:anywhere}
ul.schema{list-style:none;margin:.25rem 0 .25rem .35rem;padding:0 0 0 .9rem;border-left:1px solid var(--line)}
ul.schema li{margin:.35rem 0}
.schema .key{font-weight:600;background:none;padding:0}
.type{color:var(--soft);overflow-wrap:anywhere}a.type{color:var(--link)}.name{color:var(--text);font-weight:600}
.required{color:var(--mark);font-size:.8125rem}
.bound{color:var(--soft);font-size:.8125rem}
.about p{margin:.1rem 0;font-size:.875rem;color:var(--soft)}
@media(max-width:56rem){.frame{display:block}nav{position:static;height:auto;border-right:0;border-bottom:1px solid var(--line);padding:1rem 1.25rem}
nav .contents{display:none}main{padding:1.25rem 1.25rem 4rem}.summary{margin-left:0;text-align:left;width:100%}td:first-child{width:8rem}}
@media print{nav{display:none}.frame{display:block}pre{max-height:none;white-space:pre-wrap}}
`;
