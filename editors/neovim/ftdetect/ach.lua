vim.filetype.add({ extension = { ach = "ach" } })
