"""What the figures have in common: colours, lines and marks."""

# Okabe and Ito's colours, told apart by the colour-blind; marker and line style tell them apart in grey.
STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#56B4E9", "P", (0, (8, 2))),
)


REPORTED_GREY = "#767676"
