vim.bo.commentstring = "# %s"
vim.bo.expandtab = true
vim.bo.shiftwidth = 2
vim.bo.softtabstop = 2
-- Dots belong to the names of events.
vim.opt_local.iskeyword:append(".")

-- `:AchTest` runs the example under the cursor, or the one before it; its lens shows the result.
vim.api.nvim_buf_create_user_command(0, "AchTest", function()
  local row = vim.api.nvim_win_get_cursor(0)[1]
  while row > 1 and not vim.fn.getline(row):match("^example") do
    row = row - 1
  end
  vim.api.nvim_win_set_cursor(0, { row, 0 })
  vim.lsp.codelens.run()
end, { desc = "Run the example at the cursor" })
