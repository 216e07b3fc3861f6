"""Puts a registry on one page that can be shown to others: `findings.gather`, then `page.page` and `rows.rows`."""
