def page_from_document(path):
    return ""
