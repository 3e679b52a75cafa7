"""Events of mail: values, and the mail log that renders them."""
