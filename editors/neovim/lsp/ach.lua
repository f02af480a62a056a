-- For Neovim 0.11 and later: `vim.lsp.enable("ach")` in init.lua starts this.
return {
  cmd = { "ach", "lsp" },
  filetypes = { "ach" },
  root_markers = { ".ach-root", ".git" },
  -- Where a workspace holds several rule sets, name their folders:
  -- init_options = { ruleSets = { "rules", "fixtures/rules" } },
}
