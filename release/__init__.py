"""What a release is made of and judged by: one file, bills of materials, known vulnerabilities, versions of servers."""
