"""How tables and figures are written: sheets, their formats, the page, and exports."""
