"""Who answers: the model servers, and the connections to them."""
